"""``/user/job``: submit, show, cancel and requeue jobs, and read what they wrote."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from pydantic import ValidationError
from tornado.iostream import StreamClosedError

from ...model import Job, JobState, PartitionState
from ...store import Different
from ...wire import JobRequest
from ..errors import ApiError, from_validation
from ..retrying import retried
from ..streaming import Streaming
from ..submitting import submit
from .bodies import script_of
from .handler import ANSWER_TIME, OriginalHandler, soon
from .views import job_record

MAX_JOBS = 20_000
"""Jobs that a list has unless it is asked for another number: the newest."""

MOST_JOBS = 100_000
"""Jobs that a list has at most."""

PAGE = 400
"""Jobs that are put into words before somebody else has a turn."""

CHUNK = 2**18
"""Bytes of a log that are read at a time."""


class JobsHandler(Streaming, OriginalHandler):
    """``GET`` and ``POST /user/job``."""

    async def get(self) -> None:
        """The caller's jobs (an admin: all), the newest first."""
        left = min(self.limit(MAX_JOBS) or 0, MOST_JOBS)
        jobs = await self._page(min(left, PAGE))
        if len(jobs) < PAGE:
            self.finish(f"[{await self._records(jobs)}]")
            return
        try:
            await self.send("[")
            while jobs:
                left -= len(jobs)
                following = await self._page(min(left, PAGE), jobs[-1]) if left else []
                await self.send(await self._records(jobs) + (", " if following else ""))
                jobs = following
            self.finish("]")
        except StreamClosedError:
            return

    async def _page(self, count: int, before: Job | None = None) -> list[Job]:
        return await self.services.store.list_jobs(
            owner=None if self.caller.admin else self.caller.name,
            limit=count,
            before=before.id if before else None,
            newest_first=True,
        )

    async def _records(self, jobs: list[Job]) -> str:
        """The jobs as items of a list in JSON."""
        known = await partition_states(self, jobs)
        records = [job_record(job, known.get(job.partition or "")) for job in jobs]
        return ", ".join(record.model_dump_json(exclude_none=True) for record in records)

    async def post(self) -> None:
        """Submit a script; the answer is the job's id and nothing else."""
        if self.get_query_argument("path", None) is not None:
            message = "path: the core reads no files of its own machine; send the script itself"
            raise ApiError(400, "bad_request", message, "path")
        body = self.body()
        script = script_of(body, self.request.headers.get("Content-Type", ""))
        try:
            request = JobRequest(script=script)
        except ValidationError as error:
            refused = from_validation(error, JobRequest)
            raise refused from None
        job, _ = await submit(self.services, self.caller, str(uuid.uuid4()), request)
        self.finish(job.id)


class JobHandler(OriginalHandler):
    """``GET``, ``DELETE`` and ``PATCH /user/job/{id}``."""

    async def get(self, job_id: str) -> None:
        """Show a job."""
        job = await self.job(job_id)
        if job is None:
            raise ApiError(404, "job_not_found", f"Error: job {job_id} is not found")
        known = await partition_states(self, [job])
        record = job_record(job, known.get(job.partition or ""))
        self.finish(record.model_dump_json(exclude_none=True))

    async def delete(self, job_id: str) -> None:
        """Cancel a job; the first of an array stands for all of it."""
        job = await self.job(job_id)
        done = job is not None and await self._cancel(job)
        self.finish(_told("Canceled", job_id, done))

    async def patch(self, job_id: str) -> None:
        """Change a job as the header ``modification`` says; ``requeue`` is all there is."""
        wanted = self.request.headers.get("modification")
        if wanted is None:
            message = "Modification is not specified in the headers: 'modification: requeue'"
            raise ApiError(400, "bad_request", message)
        if wanted.strip().lower() != "requeue":
            message = f"Modification {wanted[:60]!r} is not known; allowed: requeue"
            raise ApiError(400, "bad_request", message)
        self.finish(_told("Requeued", job_id, await self._requeue(job_id)))

    async def _cancel(self, job: Job) -> bool:
        if job.array_id == job.id:
            return await self.services.jobs.cancel_array(job.id, job.owner)
        try:
            await self.services.jobs.cancel(job.id, job.owner)
        except Different:
            return False
        return True

    async def _requeue(self, job_id: str) -> bool:
        async def attempt() -> bool:
            job = await self.job(job_id)
            if job is not None:
                await self.services.jobs.requeue(job)
            return job is not None

        return await retried(job_id, attempt)


class LogHandler(Streaming, OriginalHandler):
    """``GET /user/job/{id}/stdout`` and ``…/stderr``."""

    async def get(self, job_id: str, stream: str) -> None:
        """What a job wrote so far, as it wrote it."""
        job = await self.job(job_id)
        data = b"" if job is None else await self._read(job, stream, 0)
        if job is None or (not data and not _started(job)):
            raise ApiError(404, "not_found", f"Error: {stream} for job {job_id} is not found")
        offset = 0
        try:
            while data:
                await self.send(data)
                offset += len(data)
                data = await self._read(job, stream, offset) if len(data) == CHUNK else b""
        except StreamClosedError:
            return
        self.finish()

    async def _read(self, job: Job, stream: str, offset: int) -> bytes:
        found = await soon(self.services.jobs.log(job, stream, offset, CHUNK), None)
        if found is None:
            message = f"Node {job.node} does not tell within {ANSWER_TIME:g} s; try again."
            raise ApiError(503, "unavailable", message)
        return found


async def partition_states(
    handler: OriginalHandler, jobs: Iterable[Job]
) -> dict[str, PartitionState]:
    """How far the partitions are that are being made for some of the jobs."""
    if not any(job.partition and job.state is JobState.ALLOCATING for job in jobs):
        return {}
    owner = None if handler.caller.admin else handler.caller.name
    partitions = await handler.services.partitions.partitions(owner)
    return {partition.name: partition.state for partition in partitions}


def _started(job: Job) -> bool:
    return job.started_at is not None or job.state in (JobState.RUNNING, JobState.COLLECTING)


def _told(verb: str, job_id: str, done: bool) -> str:
    return f"{verb}: {job_id if done else ''}\nNot found: {'' if done else job_id}"
