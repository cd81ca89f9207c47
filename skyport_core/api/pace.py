"""Ends the connections of clients that send or take next to nothing."""

from __future__ import annotations

import asyncio

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest

WINDOW = 60.0
"""Seconds in which something has to come over, or a piece of an answer has to be taken."""

LEAST = 60 * 2**10
"""Bytes of a body that have to come in each :data:`WINDOW`, unless it ends there."""


class Pace:
    """Watches over the body of one request, until all of it has come or :meth:`stop`.

    Attributes
    ----------
    busy
        The core itself is slow now, so that nothing more can come.
    """

    def __init__(self, request: HTTPServerRequest) -> None:
        self.busy = False
        self._request = request
        length = request.headers.get("Content-Length", "")
        self._left = int(length) if length.isdecimal() else None
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        if self._left or "Transfer-Encoding" in request.headers:
            self.start()

    def start(self) -> None:
        """Begin a window; what was counted before is forgotten."""
        self.stop()
        self._bytes = 0
        self._timer = asyncio.get_running_loop().call_later(WINDOW, self._end)

    def stop(self) -> None:
        """The client has nothing to send now. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def count(self, size: int) -> None:
        """So many bytes have come."""
        self._bytes += size
        if self._left is not None:
            self._left -= size
            if self._left <= 0:
                self.stop()
                return
        if self._bytes >= LEAST:
            self.start()

    def _end(self) -> None:
        self._timer = None
        if self.busy:
            self.start()
        else:
            hang_up(self._request)


def hang_up(request: HTTPServerRequest) -> None:
    """Close the connection that a request came by."""
    connection = request.connection
    if isinstance(connection, HTTP1Connection):
        connection.stream.close()


def overtakes_body(request: HTTPServerRequest) -> bool:
    """Whether an answer that is given now comes before the end of its request.

    Tornado closes the connection after it, as it must, but does not say so: a client that takes it
    for one that stays open loses its next request.
    """
    connection = request.connection
    return isinstance(connection, HTTP1Connection) and not connection._read_finished
