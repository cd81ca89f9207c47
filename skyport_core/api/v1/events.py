"""``/jobs/{id}/events``: the events of a job as server-sent events.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

from __future__ import annotations

import json
import re

from tornado.iostream import StreamClosedError

from ...model import Job
from ...wire import EventQuery, EventView
from ..errors import ApiError
from ..operation import Header, operation
from ..streaming import Streaming
from .jobs import JobHandlerBase

BATCH = 100
"""Events read from the store and sent before the client has to have taken them."""

RETRY = 1000
"""Milliseconds after which a browser whose connection broke tries again."""

EVENT_STREAM = "text/event-stream"

_NUMBER = r"[0-9]{1,18}"

LAST_EVENT_ID = Header(
    "Last-Event-ID",
    "Number of the last event that the caller has; `after` goes before.",
    pattern=f"^{_NUMBER}$",
)


class EventsHandler(Streaming, JobHandlerBase):
    """``GET /jobs/{id}/events``."""

    @operation(
        "Replay a job's events, then follow it: server-sent events",
        query=EventQuery,
        headers=(LAST_EVENT_ID,),
        answers={200: EVENT_STREAM},
    )
    async def get(self, job_id: str) -> None:
        """Replay the job's events, then follow it; ``follow=false`` ends after the replay.

        The stream of a job that has ended closes with ``event: end``.
        """
        query = self.query_as(EventQuery)
        last = self._last()
        after = last if query.after is None else query.after
        job = await self.job(job_id)
        self.set_header("Content-Type", f"{EVENT_STREAM}; charset=utf-8")
        self.set_header("X-Accel-Buffering", "no")
        if self.request.method == "HEAD":
            return
        try:
            await self.send(f"retry: {RETRY}\n\n")
            await self._stream(job, after, query.follow)
        except StreamClosedError:
            return

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
                    await self.send(f"event: end\ndata: {end}\n\n")
                    return
                if not follow:
                    return
                while not await self.or_gone(changed.wait(heartbeat)):
                    await self.send(": heartbeat\n\n")

    async def _replay(self, job_id: str, after: int) -> int:
        while True:
            events = await self.services.store.events(job_id, after, BATCH)
            if not events:
                return after
            after = events[-1].seq
            await self.send("".join(_format(EventView.of(event)) for event in events))

    def _last(self) -> int:
        last = self.request.headers.get("Last-Event-ID", "0")
        if not re.fullmatch(_NUMBER, last):
            message = f"Last-Event-ID ({last[:60]!r}): must be the number of an event"
            raise ApiError(422, "invalid", message, "Last-Event-ID")
        return int(last)


def _format(event: EventView) -> str:
    return f"id: {event.seq}\nevent: job\ndata: {event.model_dump_json()}\n\n"
