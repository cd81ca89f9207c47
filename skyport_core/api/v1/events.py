"""``/jobs/{id}/events``: the events of a job as server-sent events.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Coroutine
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter
from tornado.iostream import StreamClosedError

from ...model import Job
from ...wire import EventView
from ..errors import ApiError
from .jobs import JobHandlerBase

BATCH = 100
"""Events read from the store and sent before the client has to have taken them."""

RETRY = 1000
"""Milliseconds after which a browser whose connection broke tries again."""

_After: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=0, lt=2**63)])
_Flag: TypeAdapter[bool] = TypeAdapter(bool)

T = TypeVar("T")


class EventsHandler(JobHandlerBase):
    """``GET /jobs/{id}/events``."""

    async def get(self, job_id: str) -> None:
        """Replay the job's events, then follow it.

        Query: ``after``, the last event's number that the client has (or the header
        ``Last-Event-ID``), and ``follow``; with ``follow=false`` the answer ends after the replay.
        The stream of a job that has ended closes with ``event: end``.
        """
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        follow = self.query("follow", _Flag, True)
        after = self._after()
        job = await self.job(job_id)
        self.set_header("Content-Type", "text/event-stream; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        try:
            await self._send(f"retry: {RETRY}\n\n")
            await self._stream(job, after, follow)
        except StreamClosedError:
            return

    def on_connection_close(self) -> None:
        """Wake the stream: its client has left."""
        super().on_connection_close()
        gone = getattr(self, "_gone", None)
        if gone is not None and not gone.done():
            gone.set_result(None)

    async def _stream(self, job: Job, after: int, follow: bool) -> None:
        heartbeat: float = self.settings["heartbeat"]
        store = self.services.store
        with store.changes.subscribe(job.id) as changed:
            while True:
                # The job is read before its events: what a final job has, it has for good.
                current = await store.get_job(job.id) or job
                after = await self._replay(job.id, after)
                if current.state.final:
                    end = json.dumps({"state": current.state.value})
                    await self._send(f"event: end\ndata: {end}\n\n")
                    return
                if not follow:
                    return
                while not await self._or_gone(changed.wait(heartbeat)):
                    await self._send(": heartbeat\n\n")

    async def _replay(self, job_id: str, after: int) -> int:
        while True:
            events = await self.services.store.events(job_id, after, BATCH)
            if not events:
                return after
            after = events[-1].seq
            await self._send("".join(_format(EventView.of(event)) for event in events))

    async def _send(self, text: str) -> None:
        """Write, and wait until the client took it, so that a slow one is not buffered for."""
        if self._gone.done():
            raise StreamClosedError
        self.write(text)
        await self._or_gone(_finished(self.flush()))

    async def _or_gone(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of ``work``. Raises StreamClosedError as soon as the client has left."""
        task = asyncio.ensure_future(work)
        try:
            either: set[asyncio.Future[Any]] = {task, self._gone}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise StreamClosedError
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    def _after(self) -> int:
        if self.get_query_argument("after", None) is not None:
            return self.query("after", _After, 0)
        last = self.request.headers.get("Last-Event-ID", "0")
        if not (last.isascii() and last.isdigit() and len(last) < 19):
            message = f"Last-Event-ID ({last[:60]!r}): must be the number of an event"
            raise ApiError(422, "invalid", message, "Last-Event-ID")
        return int(last)


async def _finished(future: Awaitable[None]) -> None:
    await future


def _format(event: EventView) -> str:
    return f"id: {event.seq}\nevent: job\ndata: {event.model_dump_json()}\n\n"
