"""A job that starts over because somebody asked for it, whether it runs or has ended."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobState, PartitionState
from ..outputs import MARK, OUTPUTS
from ..service import ServiceError
from ..ssh.errors import NodeError
from ..store import JobChanges
from .step import Step

if TYPE_CHECKING:
    from .context import JobContext
    from .reconciler import JobReconciler

ASKED = EventDraft("Starting over was asked for", reason="requeue")
REQUEUED = EventDraft("Back in the queue, as was asked for", reason="requeued")

FRESH: JobChanges = {
    "requeue": False,
    "site": None,
    "node": None,
    "flavor": None,
    "username": None,
    "partition": None,
    "reserved": None,
    "price": None,
    "currency": "",
    "share": None,
    "walltime_told": None,
    "forward_ports": {},
    "listen": None,
    "started_at": None,
    "expires_at": None,
}
"""What a job has lost when it is back in the queue."""


async def restart(job: Job, context: JobContext, reconciler: JobReconciler) -> Job:
    """Have a job start over; it is QUEUED at once, or as soon as it has left its node.

    Raises
    ------
    ServiceError
        409: it cannot.
    Conflict
        The job is not as it was read any more.
    """
    if job.state.final:
        new = await _revive(job, context)
        reconciler.wake(job.id)
        return new
    if job.target.final:
        raise _refusal(job, "is about to end; start it over once it has ended")
    if job.state is JobState.QUEUED or job.requeue:
        return job
    new = await context.store.update_job(job, ASKED, requeue=True)
    reconciler.warned(job.id)
    return new


async def _revive(job: Job, context: JobContext) -> Job:
    if job.cleanup_pending:
        raise _refusal(
            job, f"left something on {job.node}; it can start over once that has been removed"
        )
    if job.secret:
        raise _refusal(
            job,
            "was given secrets (environment or files), which were dropped when it ended; "
            "submit it again under a new id",
        )
    return await context.store.revive_job(job, REQUEUED)


async def begin_anew(job: Job, context: JobContext) -> Step:
    """QUEUED after its end: nothing of the last attempt is shown as that of the next."""
    await drop_results(job, context)
    return Step({"requeue": False})


async def leave(job: Job, context: JobContext) -> Step:
    """COLLECTING on the way back to the queue: end the job on its node, and keep nothing of it."""
    if job.node is not None and (job.partition is None or await _has_partition(job, context)):
        attachment = await context.attachments.get(job)
        if (await attachment.runner.status()).state not in ("absent", "staged"):
            await attachment.runner.stop(context.settings.stop_grace)
        await attachment.runner.remove()
    return await back(job, context)


async def back(job: Job, context: JobContext) -> Step:
    """To the queue, once nothing of the job is on a node that others use."""
    if job.partition is not None and await _has_partition(job, context):
        await context.partitions.give_back(job.partition, unused=job.node is None)
    if job.state is JobState.ALLOCATING and job.partition is None and job.node is not None:
        await _leave_no_folder(job, context)
    await context.attachments.close(job.id, hang_up=job.partition is not None)
    await drop_results(job, context)
    changes: JobChanges = {**FRESH, "excluded": {}, "attempt": job.attempt + 1}
    return Step.to(JobState.QUEUED, REQUEUED, changes)


async def _leave_no_folder(job: Job, context: JobContext) -> None:
    """The first login has made the job's folder; where nobody can log in, there is none."""
    try:
        attachment = await context.attachments.get(job)
        await attachment.connection.ready(context.settings.login_timeout)
        await attachment.runner.remove()
    except NodeError as error:
        context.log.info("Job %s: its folder on %s may stay: %s", job.id, job.node, error)


async def abandoned(job: Job, context: JobContext) -> Step:
    """The node did not answer: what runs there still must not run a second time elsewhere."""
    if job.partition is not None or job.node is None:
        return await back(job, context)
    failure = Failure(
        "node_lost",
        f"The job could not be ended on {job.node}, so it was not started over",
        "Start it over once that node is back and what the job left there is removed.",
    )
    return Step.fail(failure, {"requeue": False})


async def drop_results(job: Job, context: JobContext) -> None:
    """Remove what earlier attempts brought home; what was uploaded stays."""
    await asyncio.to_thread(_drop, context, job.id)


def _drop(context: JobContext, job_id: str) -> None:
    folder = context.outputs(job_id)
    shutil.rmtree(folder / OUTPUTS, ignore_errors=True)
    for name in (MARK, "stdout.log", "stderr.log"):
        (folder / name).unlink(missing_ok=True)


async def _has_partition(job: Job, context: JobContext) -> bool:
    """Whether the nodes made for the job are its own still, and stay."""
    assert job.partition is not None  # noqa: S101 (typing)
    record = await context.store.get_partition(job.partition)
    if record is None or record.job_id != job.id:
        return False
    return record.target is PartitionState.READY


def _refusal(job: Job, why: str) -> ServiceError:
    return ServiceError(f"Job {job.id} {why}.", code="wrong_state", status=409)
