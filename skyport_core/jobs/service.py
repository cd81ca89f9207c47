"""What the API asks of the jobs: submit, cancel, show the log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from ..api.services import ServiceError
from ..model import Job, JobState
from ..ssh.errors import NodeError
from ..wire import JobRequest
from .context import JobContext
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
        if (
            stream == "boot"
            or job.state.final
            or job.node is None
            or job.state is JobState.COLLECTING
        ):
            return await asyncio.to_thread(_read, kept, offset, limit)
        try:
            attachment = await self._context.attachments.get(job)
            reading = attachment.runner.log(stream, offset=offset, limit=limit)
            return await asyncio.wait_for(reading, LOG_TIMEOUT)
        except (NodeError, asyncio.TimeoutError) as error:
            self._context.log.info("Job %s: its log cannot be read now: %s", job.id, error)
            return b""


def _read(path: Path, offset: int, limit: int | None) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(-1 if limit is None else limit)
