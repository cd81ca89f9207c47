"""What the API asks of the jobs: submit, cancel, show the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from skyport_gates.timing import in_time

from ..api.services import ServiceError
from ..model import Job, JobState
from ..ssh.errors import NodeError
from ..wire import JobRequest
from .attachment import Place
from .context import JobContext
from .evicting import ON_NODE
from .reconciler import JobReconciler

LOG_TIMEOUT = 10.0
"""Seconds that a look at a running job's log may take."""


class Jobs:
    """The front of the lifecycle, as ``api.services.JobService`` describes it."""

    def __init__(
        self, context: JobContext, reconciler: JobReconciler, replan: Callable[[], None]
    ) -> None:
        self._context = context
        self._reconciler = reconciler
        self._replan = replan

    async def submit(self, job_id: str, owner: str, request: JobRequest) -> tuple[Job, bool]:
        """Put a job into the queue; the stored job, and whether it is new. Idempotent."""
        if request.site is not None and request.site not in self._context.sites.gates:
            known = ", ".join(sorted(self._context.sites.gates))
            raise ServiceError(
                f"There is no site {request.site!r}; allowed: {known}",
                code="unknown_site",
                status=422,
                field="site",
            )
        job, created = await self._context.store.put_job(
            job_id, owner, request, self._context.now()
        )
        self._replan()
        return job, created

    async def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Have a job end, whatever state it is in; None when it was never submitted."""
        job = await self._context.store.tombstone(job_id, owner, self._context.now())
        if job is None or job.state.final:
            return job
        self._reconciler.cancelled(job_id)
        return job

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        """Part of a job's output, from its node while it runs, from the core's copy after it.

        ``boot`` is what the last machine that did not come up for it printed.
        """
        kept = self._context.outputs(job.id) / f"{stream}.log"
        if stream != "boot" and _on_node(job):
            there = await self._from_node(job, stream, offset, limit)
            if there is not None:
                return there
        return await asyncio.to_thread(_read, kept, offset, limit)

    async def _from_node(
        self, job: Job, stream: str, offset: int, limit: int | None
    ) -> bytes | None:
        """The same from the job's node; None when the job has left it by now."""
        attachments = self._context.attachments
        held = attachments.has(job.id)
        found = b""
        try:
            attachment = await attachments.get(job)
            reading = attachment.runner.log(stream, offset=offset, limit=limit)
            found = await in_time(reading, LOG_TIMEOUT)
        except (NodeError, asyncio.TimeoutError) as error:
            self._context.log.info("Job %s: its log cannot be read now: %s", job.id, error)
        now = await self._context.store.get_job(job.id)
        if now is not None and _on_node(now) and Place.of(now) == Place.of(job):
            return found
        if not held:
            # Made here when the job's own was closed already: nobody else would close it.
            await attachments.drop(job)
        # While its output is on the way home, what was read is more than what is here.
        collected = now is None or now.state is not JobState.COLLECTING
        return None if collected else found or None


def _on_node(job: Job) -> bool:
    """Whether the job's output is on its node."""
    return job.state in ON_NODE and job.node is not None


def _read(path: Path, offset: int, limit: int | None) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(-1 if limit is None else limit)
