"""A TCP connection for an SSH client that sends what one turn of the event loop wrote at once.

asyncssh writes each packet to the socket by itself, and before each an empty one that hides the
lengths. Gathered, an answer needs one system call instead of two or more, and the peer wakes once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

FLUSH_SIZE = 256 * 2**10
"""Bytes gathered at most before they are sent without waiting for the turn's end."""

RECEIVE_SIZE = 256 * 2**10
"""Bytes handed over at once: asyncssh copies the rest of its input for every packet in it."""


class GatheringTransport(asyncio.Transport):
    """Passes everything on to ``inner``, gathering writes."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(bytes(data))
        self._size += len(data)
        if self._size >= FLUSH_SIZE:
            self._flush()

    def _flush(self) -> None:
        if self._parts:
            parts, self._parts = self._parts, []
            self._size = 0
            self._inner.writelines(parts)

    def close(self) -> None:
        self._flush()
        self._inner.close()

    def abort(self) -> None:
        self._flush()
        self._inner.abort()

    def is_closing(self) -> bool:
        return self._inner.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._inner.get_extra_info(name, default)


class _Receiver(asyncio.BufferedProtocol):
    """Hands what comes to ``user``, from a buffer that is allocated once."""

    def __init__(self, user: asyncio.Protocol, loop: asyncio.AbstractEventLoop) -> None:
        self.user = user
        self._loop = loop
        self._buffer = bytearray(RECEIVE_SIZE)
        self._view = memoryview(self._buffer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        inner = cast(asyncio.Transport, transport)
        self.user.connection_made(GatheringTransport(inner, self._loop))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        self.user.data_received(bytes(self._view[:nbytes]))

    def eof_received(self) -> bool | None:
        return self.user.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self.user.connection_lost(exc)


class Wire:
    """Stands where asyncssh takes a connection to tunnel over, and connects by TCP itself."""

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.Protocol]:
        """Connect to ``host:port``; as of ``asyncssh.SSHClientConnection.create_connection``."""
        loop = asyncio.get_running_loop()
        transport, receiver = await loop.create_connection(
            lambda: _Receiver(factory(), loop), host, port
        )
        return transport, receiver.user

    def close(self) -> None:
        """Nothing of its own to close: the connection closes its transport."""

    async def wait_closed(self) -> None:
        """Nothing of its own to wait for."""
