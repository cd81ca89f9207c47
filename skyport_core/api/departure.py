"""When the answer to a request has gone: not when it was given, but when its client took it."""

from __future__ import annotations

import asyncio
from typing import Any

from tornado.httputil import HTTPServerRequest

from . import pace

SLOWEST = 64 * 2**10
"""Bytes of an answer that a client has to take in each second after the first
:data:`~.pace.WINDOW`."""


class Departure:
    """Watches over the answer to one request; its client has to take it at a certain pace.

    Parameters
    ----------
    request : HTTPServerRequest
        What is answered.
    task : Task
        Answers it.

    Attributes
    ----------
    gone
        Done as soon as the task has ended, and the answer has been taken or never will be.
    """

    def __init__(self, request: HTTPServerRequest, task: asyncio.Task[Any]) -> None:
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._sent: asyncio.Future[None] | None = None
        task.add_done_callback(self._answered)

    def sending(self, sent: asyncio.Future[None], size: int) -> None:
        """The last ``size`` bytes of the answer have gone as soon as ``sent`` is done."""
        if sent.done():
            return
        self._sent = sent
        allowed = pace.WINDOW + size / SLOWEST
        timer = asyncio.get_running_loop().call_later(allowed, self._give_up)
        sent.add_done_callback(lambda _: timer.cancel())

    def _answered(self, task: asyncio.Task[Any]) -> None:
        if self._sent is None or self._sent.done():
            self._end()
        else:
            self._sent.add_done_callback(self._end)

    def _give_up(self) -> None:
        pace.hang_up(self._request)
        self._end()

    def _end(self, _: object = None) -> None:
        if not self.gone.done():
            self.gone.set_result(None)
