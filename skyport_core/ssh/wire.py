"""A TCP connection for an SSH client that takes and gives bytes the way asyncssh is fastest with.

asyncssh writes each packet to the socket by itself, and copies the rest of its input for every
packet in it. Here large packets leave together, small ones at once, and input is handed over in
parts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

LARGE = 16 * 2**10
"""Bytes from which on a packet may wait for others, until the end of the event loop's turn."""

FLUSH_SIZE = 128 * 2**10
"""Bytes gathered at most before they are sent without waiting for the turn's end. Larger blocks
would make the allocator give memory back to the system, and take it again, every time."""

RECEIVE_SIZE = 256 * 2**10
"""Bytes taken from the socket at once."""

PART_SIZE = 64 * 2**10
"""Bytes handed over at once."""


class GatheringTransport(asyncio.Transport):
    """Passes everything on to ``inner``, gathering large writes of one turn of the event loop."""

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._inner = inner
        self._loop = loop
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not self._parts:
            if len(data) < LARGE:
                self._inner.write(data)
                return
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
        self._view = memoryview(bytearray(RECEIVE_SIZE))
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = GatheringTransport(cast(asyncio.Transport, transport), self._loop)
        self.user.connection_made(self._transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        for start in range(0, nbytes, PART_SIZE):
            if self._transport is None or self._transport.is_closing():
                return
            self.user.data_received(bytes(self._view[start : min(start + PART_SIZE, nbytes)]))

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
