"""Answers that are sent bit by bit, as fast as their client takes them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

from tornado.iostream import StreamClosedError

from . import pace
from .handler import ApiBase

PART = 256 * 2**10
"""Bytes that are sent before the client has to have taken them."""

T = TypeVar("T")


class Streaming(ApiBase):
    """What handlers with long answers share."""

    _gone: asyncio.Future[None] | None = None

    def on_connection_close(self) -> None:
        """Wake the answer: its client has left."""
        super().on_connection_close()
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    async def send(self, data: bytes | str) -> None:
        """Write, and wait until the client took it, so that a slow one is not buffered for.

        Raises StreamClosedError when it has left, or takes nothing for too long.
        """
        if self._leaving().done():
            raise StreamClosedError
        self.write(data)
        await self.or_gone(_finished(self.flush()), pace.WINDOW)

    async def send_whole(self, data: bytes) -> None:
        """End the answer with ``data``, piece by piece if it is long."""
        if len(data) <= PART or self.request.method == "HEAD":
            self.finish(data)
            return
        self.set_header("Content-Length", str(len(data)))
        try:
            for begin in range(0, len(data), PART):
                await self.send(data[begin : begin + PART])
        except StreamClosedError:
            return

    async def or_gone(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """The result of ``work``. Raises StreamClosedError as soon as the client has left.

        After ``timeout`` seconds it is made to leave.
        """
        task, gone = asyncio.ensure_future(work), self._leaving()
        try:
            either: set[asyncio.Future[Any]] = {task, gone}
            done, _ = await asyncio.wait(
                either, return_when=asyncio.FIRST_COMPLETED, timeout=timeout
            )
            if not done:
                pace.hang_up(self.request)
            if not task.done():
                raise StreamClosedError
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _leaving(self) -> asyncio.Future[None]:
        if self._gone is None:
            self._gone = asyncio.get_running_loop().create_future()
        return self._gone


async def _finished(future: Awaitable[None]) -> None:
    await future
