"""A TCP connection joined to an SSH channel: both directions, half-close, back-pressure."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable
from typing import cast

import asyncssh

WINDOW = 16 * 2**20
"""Bytes in flight towards the core: enough for 1 Gbit/s at 100 ms."""

MAX_PACKET = 128 * 2**10
"""Bytes a packet towards the core may carry; sshd's own limit for a whole packet is 256 KiB."""

BUFFER = 2**20
"""Bytes that may wait for a slow reader before its writer is paused."""

EARLY = 64 * 2**10
"""Bytes taken from a client before its channel is open."""

PART = 32 * 2**10
"""Bytes given to a channel at once: what sshd takes in one packet, so that none has to be cut."""

RECEIVE_SIZE = 256 * 2**10
"""Bytes taken from a client at once."""


class _Received(threading.local):
    """Where all connections of an event loop read into: each takes it out before the next reads."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(RECEIVE_SIZE))


_received = _Received()


class Splice:
    """Two ends that feed each other.

    :attr:`near` is the protocol of the TCP connection, :attr:`far` the session of the channel;
    they may be connected in either order.
    """

    def __init__(self) -> None:
        self.near = _Near(self)
        self.far = _Far(self)
        self.transport: asyncio.Transport | None = None
        self.channel: asyncssh.SSHTCPChannel[bytes] | None = None
        self.closed = asyncio.Event()
        self.on_closed: Callable[[Splice], None] = lambda _: None

    def abort(self) -> None:
        """Drop both ends, with whatever is under way."""
        if self.transport is not None:
            _reset(self.transport)
        if self.channel is not None:
            self.channel.abort()
        self._check_closed()

    def _check_closed(self) -> None:
        if self.transport is None and self.channel is None and not self.closed.is_set():
            self.closed.set()
            self.on_closed(self)


class _Near(asyncio.BufferedProtocol):
    def __init__(self, splice: Splice) -> None:
        self._splice = splice
        self._early = bytearray()
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        link = cast(asyncio.Transport, transport)
        link.set_write_buffer_limits(high=BUFFER)
        self._splice.transport = link
        if self._splice.channel is not None:
            self.join(self._splice.channel)

    def join(self, channel: asyncssh.SSHTCPChannel[bytes]) -> None:
        """Pass on what came early; from now on everything read goes straight into the channel."""
        if self._early:
            channel.write(bytes(self._early))
            self._early.clear()
        if self._ended:
            channel.write_eof()
        if self._splice.transport is not None:
            self._splice.transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        return _received.view

    def buffer_updated(self, nbytes: int) -> None:
        view, channel = _received.view, self._splice.channel
        if channel is not None and not self._early:
            for start in range(0, nbytes, PART):
                channel.write(bytes(view[start : min(start + PART, nbytes)]))
            return
        self._early += view[:nbytes]
        if len(self._early) >= EARLY and self._splice.transport is not None:
            self._splice.transport.pause_reading()

    def eof_received(self) -> bool:
        self._ended = True
        if self._splice.channel is not None:
            self._splice.channel.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._splice.channel is not None:
            self._splice.channel.pause_reading()

    def resume_writing(self) -> None:
        if self._splice.channel is not None:
            self._splice.channel.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        splice = self._splice
        splice.transport = None
        if splice.channel is not None:
            splice.channel.abort()
        splice._check_closed()


class _Far(asyncssh.SSHTCPSession[bytes]):
    def __init__(self, splice: Splice) -> None:
        self._splice = splice

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        chan.set_write_buffer_limits(high=BUFFER)
        self._splice.channel = chan

    def session_started(self) -> None:
        splice = self._splice
        if splice.channel is None:
            return
        if splice.transport is None:
            splice.channel.abort()
        else:
            splice.near.join(splice.channel)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if self._splice.transport is not None:
            self._splice.transport.write(data)

    def eof_received(self) -> bool:
        if self._splice.transport is not None:
            self._splice.transport.write_eof()
        return True

    def pause_writing(self) -> None:
        if self._splice.transport is not None:
            self._splice.transport.pause_reading()

    def resume_writing(self) -> None:
        if self._splice.transport is not None:
            self._splice.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        splice = self._splice
        splice.channel = None
        if splice.transport is None:
            splice._check_closed()
        elif exc is None:
            splice.transport.close()
        else:
            _reset(splice.transport)


def _reset(transport: asyncio.Transport) -> None:
    """End a TCP connection so that its client cannot take a torn answer for a whole one."""
    link = transport.get_extra_info("socket")
    if link is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
