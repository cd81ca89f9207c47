"""WebSockets of the API: bytes between a terminal and something on a job's node.

Binary frames are bytes, text frames are JSON. Whatever is wrong with a request is told by the HTTP
status, before the protocol changes; later, a close code and its reason tell.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Coroutine
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from ...model import Job, JobState
from ...service import Piped
from ..errors import ApiError
from ..handler import ApiBase
from ..origin import check_origin
from .jobs import is_job_id, no_such_job

MAX_MESSAGE = 2**20
"""Bytes of one frame from a client."""

PING = 20.0
"""Seconds between two signs of life."""

SILENCE = 3 * PING
"""Seconds without any sign of life after which a client counts as gone."""

LOOK = 10.0
"""Seconds between two looks at the job, if nothing is heard of it."""

REACHABLE = frozenset({JobState.STARTING, JobState.RUNNING})

GOING_AWAY, UNSUPPORTED = 1001, 1003
"""Close codes of RFC 6455, section 7.4.1."""


UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13"}
"""Headers that tell what is spoken here."""


class Control(BaseModel):
    """A text frame of a client."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: tuple[int, int] | None = Field(None, description="Columns and rows of the terminal.")
    eof: bool = Field(False, description="The client sends no more bytes.")


class ApiSocket(WebSocketHandler, ApiBase):
    """Base of the WebSockets: one :class:`~..services.Piped` for one client.

    Flow control reaches through: a client that does not read stops the node's writer, and a node
    that does not read stops the client, so that nothing piles up here.
    """

    _pipe: Piped | None = None
    _stuck = 0
    _sent_eof = False

    @property
    def max_message_size(self) -> int:
        """Bytes of the largest frame that is taken."""
        return MAX_MESSAGE

    @property
    def ping_interval(self) -> float | None:
        """None: pings are sent here, where it is known whether a client can answer them."""
        return None

    def check_origin(self, origin: str) -> bool:
        """Checked before, where it can be answered as any other error."""
        return True

    async def serve(self, job_id: str, **query: Any) -> None:
        """Carry bytes between the client and what :meth:`connect` opens, until one ends."""
        if not self.caller.may_write:
            message = f"{self.caller.name} may look but not change anything with this token."
            raise ApiError(403, "forbidden", message)
        job = await self._find(job_id)
        self._check_upgrade()
        if job.state not in REACHABLE or job.target is not JobState.RUNNING:
            message = f"Job {job.id} is {job.state.value}: its node is in reach while it runs."
            raise ApiError(409, "not_running", message)
        self._job, self._heard = job, time.monotonic()
        self._tasks: list[asyncio.Task[None]] = []
        self._gone = asyncio.Event()
        self._pipe = await self.connect(job, **query)
        try:
            await WebSocketHandler.get(self)
        finally:
            self._pipe.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def connect(self, job: Job, **query: Any) -> Piped:
        """Open the other end. ServiceError and ApiError are told to the client."""
        raise NotImplementedError

    def frame(self, stream: int, data: bytes) -> bytes:
        """Bytes of a stream as a binary frame."""
        return data

    async def ended(self, pipe: Piped) -> None:
        """The other end sends no more: tell the client, and close if that is all."""
        raise NotImplementedError

    def open(self, *args: str, **kwargs: str) -> None:
        """Begin, after the protocol has changed."""
        if self.ws_connection is not None and self.ws_connection.stream is not None:
            # While a frame waits for the node nothing is read, and so no end is seen.
            self.ws_connection.stream.set_close_callback(self._gone.set)
        for part in (self._outgoing(), self._until_the_job_ends(), self._keep_alive()):
            self._tasks.append(asyncio.create_task(self._quietly(part)))

    async def on_message(self, message: str | bytes) -> None:
        """Pass bytes on; the next frame is read when there is room for it."""
        assert self._pipe is not None  # noqa: S101 (typing)
        self._heard = time.monotonic()
        if isinstance(message, bytes):
            with self._busy():
                await self._quietly(self._unless_gone(self._pipe.write(message)))
            return
        try:
            control = Control.model_validate_json(message, strict=True)
        except ValidationError:
            known = ", ".join(Control.model_fields)
            self.close(UNSUPPORTED, f"A text frame must be a JSON object; known: {known}")
            return
        if control.resize is not None:
            columns, rows = (max(1, min(number, 10_000)) for number in control.resize)
            self._pipe.resize(columns, rows)
        if control.eof:
            self._sent_eof = True
            await self._quietly(self._unless_gone(self._pipe.write_eof()))

    def on_pong(self, data: bytes) -> None:
        """The client lives."""
        self._heard = time.monotonic()

    async def tell(self, text: str) -> None:
        """Send a text frame."""
        await self.write_message(text)

    @contextlib.contextmanager
    def _busy(self) -> Any:
        """While this lasts, a client cannot give signs of life, or need not."""
        self._stuck += 1
        try:
            yield
        finally:
            self._stuck -= 1
            self._heard = time.monotonic()

    async def _unless_gone(self, work: Coroutine[Any, Any, None]) -> None:
        """See ``work`` through, but only as long as the client is there."""
        task, gone = asyncio.ensure_future(work), asyncio.ensure_future(self._gone.wait())
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            gone.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _quietly(self, part: Coroutine[Any, Any, None]) -> None:
        try:
            await part
        except WebSocketClosedError:
            return
        except Exception as error:
            self.log_exception(type(error), error, error.__traceback__)
            self.close(1011, "Something went wrong inside the core")

    async def _outgoing(self) -> None:
        assert self._pipe is not None  # noqa: S101 (typing)
        while True:
            stream, data = await self._pipe.read()
            if not data:
                break
            with self._busy():
                await self.write_message(self.frame(stream, data), binary=True)
        await self.ended(self._pipe)

    async def _until_the_job_ends(self) -> None:
        store, started = self.services.store, self._job
        with store.changes.subscribe(started.id) as changed:
            while True:
                job = await store.get_job(started.id)
                if job is None or job.state not in REACHABLE or job.attempt != started.attempt:
                    break
                await changed.wait(LOOK)
        assert self._pipe is not None  # noqa: S101 (typing)
        self._pipe.close()
        self.close(GOING_AWAY, "The job has ended")

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(PING)
            if not self._stuck and time.monotonic() - self._heard > SILENCE:
                self.close(GOING_AWAY, "No sign of life")
            self.ping(b"")

    async def _find(self, job_id: str) -> Job:
        job = await self.services.store.get_job(job_id) if is_job_id(job_id) else None
        if job is None or not self.caller.owns(job):
            raise no_such_job(job_id)
        return job

    def _check_upgrade(self) -> None:
        """Refuse what is no WebSocket, and pages of other sites. Raises ApiError 403 or 426."""
        headers = self.request.headers
        words = {word.strip().lower() for word in headers.get("Connection", "").split(",")}
        key = headers.get("Sec-WebSocket-Key", "")
        if (
            headers.get("Upgrade", "").lower() != "websocket"
            or "upgrade" not in words
            or headers.get("Sec-WebSocket-Version") != "13"
            or not re.fullmatch(r"[A-Za-z0-9+/]{22}==", key)
        ):
            message = "This address speaks the WebSocket protocol, version 13 (RFC 6455) only."
            raise ApiError(426, "upgrade_required", message, headers=UPGRADE)
        check_origin(self.request)
