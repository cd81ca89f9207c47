"""``/jobs/{id}/log``: what a job wrote, and what it writes now."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from tornado.iostream import StreamClosedError

from ...model import Job
from ...wire import LogQuery
from ..operation import Header, operation
from ..streaming import Streaming
from .jobs import JobHandlerBase

TEXT = "text/plain"

NEXT_OFFSET = Header(
    "X-Skyport-Next-Offset", "Where to read on; absent from a log that is followed."
)


class LogHandler(Streaming, JobHandlerBase):
    """``GET /jobs/{id}/log``."""

    @operation(
        "Read what a job wrote, or follow what it writes",
        query=LogQuery,
        answers={200: TEXT},
        errors=(503,),
        returns=(NEXT_OFFSET,),
    )
    async def get(self, job_id: str) -> None:
        """Part of the log as plain text; with ``follow`` all of it, as it comes.

        A log that is followed ends when the job has ended and all of it is sent. The bytes of a job
        that went back to the queue are followed by those of its next attempt, from their first on.
        """
        query = self.query_as(LogQuery)
        job = await self.job(job_id)
        self.set_header("Content-Type", f"{TEXT}; charset=utf-8")
        if query.follow:
            await self._follow(job, query)
            return
        data = await self.services.jobs.log(job, query.stream, query.offset, query.limit)
        self.set_header("X-Skyport-Next-Offset", str(query.offset + len(data)))
        await self.send_whole(data)

    async def _follow(self, job: Job, query: LogQuery) -> None:
        self.set_header("X-Accel-Buffering", "no")
        if self.request.method == "HEAD":
            return
        try:
            # The status comes at once, also when nothing is written yet.
            await self.send(b"")
            async with aclosing(self.services.logs.follow(job, query.stream, query.offset)) as feed:
                while data := await self.or_gone(_next(feed)):
                    await self.send(data)
        except StreamClosedError:
            return


async def _next(feed: AsyncGenerator[bytes, None]) -> bytes:
    return await anext(feed, b"")
