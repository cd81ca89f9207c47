"""Calls that tell what happens to a job while it happens: its events and its log."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from ..wire import EventView, JobView
from .calls import Calls, given, job_path
from .errors import CoreUnavailable, Untrusted
from .pauses import Pauses
from .transport import parse

_PIECE = 2**16


@dataclass(frozen=True)
class LogChunk:
    """Part of a job's log; the next part begins at byte ``next_offset``."""

    data: bytes
    next_offset: int


class StreamCalls(Calls):
    """Events and logs."""

    async def log(
        self,
        job_id: str,
        stream: str = "stdout",
        *,
        offset: int = 0,
        limit: int | None = None,
        wait: float = 0,
    ) -> LogChunk:
        """Part of what a job wrote to ``stdout`` or ``stderr``, from byte ``offset`` on.

        ``boot`` is what the last machine that did not come up for it printed.

        Empty when there is no more, or nothing yet; ``limit`` (bytes) is 1 MiB unless given and
        4 MiB at most.
        """
        query = given([("stream", stream), ("offset", offset), ("limit", limit)])
        headers, body = await self._transport.request(
            "GET", job_path(job_id, "log"), query=query, wait=wait
        )
        return LogChunk(body, int(headers.get("X-Skyport-Next-Offset", offset + len(body))))

    async def follow_log(
        self, job_id: str, stream: str = "stdout", *, offset: int = 0, wait: float = 60.0
    ) -> AsyncGenerator[LogChunk, None]:
        """What a job writes, as it writes it, each byte once; ends when the job has ended.

        A broken connection is made again and read on where it broke. Close it with
        ``contextlib.aclosing`` when leaving it early.

        Parameters
        ----------
        offset : int
            Bytes that are known already.
        wait : float
            Seconds that the core may be away at a time before CoreUnavailable is raised.
        """
        pauses = Pauses(wait)
        while True:
            reached = False
            try:
                query = given([("stream", stream), ("offset", offset), ("follow", True)])
                async with self._transport.response(
                    "GET",
                    job_path(job_id, "log"),
                    query,
                    timeout=self._transport.streaming(),
                ) as response:
                    reached = True
                    async for data in response.content.iter_chunked(_PIECE):
                        offset += len(data)
                        yield LogChunk(data, offset)
                return
            except Untrusted:
                raise
            except CoreUnavailable:
                if reached:
                    # Also a job that said nothing for long: the core is asked again.
                    pauses = Pauses(wait)
                elif pauses.over:
                    raise
            await pauses.sleep()

    async def events(
        self, job_id: str, *, after: int = 0, follow: bool = True, wait: float = 60.0
    ) -> AsyncGenerator[EventView, None]:
        """The events of a job, each exactly once, in order.

        Ends when the job has ended, or, without ``follow``, after the events that exist. A broken
        connection is made again, also to a core that was restarted. Close it with
        ``contextlib.aclosing`` when leaving it early.

        Parameters
        ----------
        after : int
            Number of the last event already known.
        wait : float
            Seconds that the core may be away at a time before CoreUnavailable is raised.
        """
        pauses = Pauses(wait)
        while True:
            reached, failure = False, None
            try:
                page = given([("follow", follow), ("after", after)])
                async with self._transport.messages(job_path(job_id, "events"), page) as messages:
                    reached = True
                    async for name, data in messages:
                        if name == "end":
                            return
                        event = parse(EventView, data)
                        after = event.seq
                        pauses = Pauses(wait)
                        yield event
                if not follow:
                    return
            except Untrusted:
                raise
            except CoreUnavailable as error:
                failure = error
            if reached:
                # The core is away from now on, not since its last event.
                pauses.restart()
            if failure is not None and pauses.over:
                raise failure
            await pauses.sleep()

    async def ended(self, job_id: str, *, wait: float = 60.0) -> JobView:
        """The job, once it has ended; returns when that happens. CoreError 404: no such job."""
        async with aclosing(self.events(job_id, wait=wait)) as events:
            async for _ in events:
                pass
        path = job_path(job_id)
        return await self._transport.fetch(JobView, "GET", path, wait=wait)
