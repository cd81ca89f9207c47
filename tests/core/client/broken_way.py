"""A Unix socket that leads to a core's, and breaks when the test says so."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path


class BrokenWay:
    """Breaks a connection after ``cut_after`` bytes of answers, ``cuts`` times in all."""

    def __init__(self, path: Path, core: Path) -> None:
        self.path = path
        self.cut_after = 0
        self.cuts = 0
        self.requests: list[bytes] = []
        self._core = core

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_core = await asyncio.open_unix_connection(self._core)
        up = asyncio.create_task(self._up(reader, to_core[1]))
        with contextlib.suppress(OSError):
            await self._down(to_core[0], writer)
        up.cancel()
        await asyncio.gather(up, return_exceptions=True)
        to_core[1].close()
        if not writer.is_closing():
            writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, core: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            self.requests.append(data)
            core.write(data)
            await core.drain()

    async def _down(self, core: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = 0
        while data := await core.read(2**14):
            if self.cuts and sent + len(data) > self.cut_after:
                self.cuts -= 1
                writer.write(data[: self.cut_after - sent])
                await writer.drain()
                # What was written reaches the client before the end does.
                writer.close()
                await writer.wait_closed()
                return
            sent += len(data)
            writer.write(data)
            await writer.drain()


@asynccontextmanager
async def broken_way(folder: Path, core: Path) -> AsyncIterator[BrokenWay]:
    way = BrokenWay(folder / "way.sock", core)
    server = await asyncio.start_unix_server(way.carry, way.path)
    try:
        yield way
    finally:
        server.close()
