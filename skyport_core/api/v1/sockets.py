"""``/jobs/{id}/shell`` and ``/jobs/{id}/ports/{port}``: WebSockets to a job's node.

Both carry bytes in binary frames and control in text frames (JSON objects).

Shell. With a terminal, binary frames are its keys and its screen. Without one (``tty=false``, or a
command), those of the client are the program's standard input, and those of the core begin with a
byte that names the stream: 1, standard output, or 2, standard error. The client may send
``{"resize": [columns, rows]}`` and ``{"eof": true}``, the end of the input. When the program has
ended, the core sends ``{"exit": 0, "signal": null}`` and closes (1000); ``exit`` is null if that
is not known.

Port. Binary frames are the bytes of one TCP connection. ``{"eof": true}`` from either side tells
that it sends no more; when both have said so, the core closes (1000).

The core closes with 1001 when the job has ended, or no sign of life came.
"""

from __future__ import annotations

import json

from ...model import Job
from ...service import Piped
from ...wire import ShellQuery
from ..errors import ApiError
from ..operation import operation
from .websocket import ApiSocket

_DONE = 1000


class ShellSocket(ApiSocket):
    """``GET /jobs/{id}/shell``."""

    _terminal = True

    @operation(
        "Open a terminal on a job's node, or run a command there",
        query=ShellQuery,
        answers={101: None},
        errors=(404, 409, 426, 503),
        websocket=True,
    )
    async def get(self, job_id: str) -> None:
        """Change to the WebSocket protocol, and carry a terminal."""
        query = self.query_as(ShellQuery)
        self._terminal = query.terminal
        await self.serve(job_id, query=query)

    async def connect(self, job: Job, **query: ShellQuery) -> Piped:
        """Start the program."""
        return await self.services.reach.shell(job, query["query"])

    def frame(self, stream: int, data: bytes) -> bytes:
        """Tell the streams of a program without terminal apart."""
        return data if self._terminal else bytes((stream,)) + data

    async def ended(self, pipe: Piped) -> None:
        """Tell how the program ended."""
        status, signal = await pipe.end()
        await self.tell(json.dumps({"exit": status, "signal": signal}))
        self.close(_DONE)


class PortSocket(ApiSocket):
    """``GET /jobs/{id}/ports/{port}``."""

    _got_eof = False

    @operation(
        "Connect to a port of a job's node",
        answers={101: None},
        errors=(404, 409, 426, 502, 503),
        websocket=True,
    )
    async def get(self, job_id: str, port: str) -> None:
        """Change to the WebSocket protocol, and carry a TCP connection."""
        if not (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65536):
            message = f"port ({port[:60]!r}): must be a number from 1 to 65535"
            raise ApiError(422, "invalid", message, "port")
        await self.serve(job_id, port=int(port))

    async def connect(self, job: Job, **query: int) -> Piped:
        """Connect to the port."""
        return await self.services.reach.port(job, query["port"])

    async def on_message(self, message: str | bytes) -> None:
        """Pass on, and close when both sides have ended."""
        await super().on_message(message)
        self._close_if_done()

    async def ended(self, pipe: Piped) -> None:
        """Tell the client; it may still send."""
        self._got_eof = True
        await self.tell('{"eof": true}')
        self._close_if_done()

    def _close_if_done(self) -> None:
        if self._got_eof and self._sent_eof:
            self.close(_DONE)
