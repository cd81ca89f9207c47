"""COLLECTING: stop what runs, bring logs and results home, remove what was left, release."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobState, PartitionRecord, PartitionState
from ..ssh.errors import NodeError, StagingFailed
from .evicting import end_saving, save
from .requeue import requeue
from .restarting import abandoned, leave
from .results import are_home, bring_home, tell_lost
from .step import Step

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

END_MESSAGES = {
    JobState.FINISHED: "Finished",
    JobState.CANCELLED: "Stopped; nothing is left on the node",
    JobState.FAILED: "Failed",
}


async def collect(job: Job, context: JobContext) -> Step:
    """End the job on its node and enter its target once that is verified.

    A job whose target is still RUNNING only leaves its machine: that is taken away, or the job is
    to start over.
    """
    if job.target is JobState.RUNNING:
        return await (leave if job.requeue else save)(job, context)
    if job.node is None:
        return await _release(job, context, cleanup=False)
    if await _partition_leaving(job, context):
        lost = await _results_lost(job, context)
        return lost or await _release(job, context, cleanup=False)
    attachment = await context.attachments.get(job)
    if job.failure is not None and job.failure.reason == "node_lost":
        return await _release(job, context, cleanup=job.partition is None)
    try:
        job = await _take_down(job, context, attachment)
    except StagingFailed as error:
        if not error.permanent:
            raise
        return Step.fail(Failure(error.reason, error.message, error.hint))
    return await _release(job, context, cleanup=False)


async def abandon(job: Job, context: JobContext, failure: Failure | None = None) -> Step:
    """No more can be done on the node now: end the job, clean up when the node is back.

    ``failure`` says why, for a job whose results are lost by that; None: its machine is gone.
    """
    if job.target is JobState.RUNNING and job.requeue:
        return await abandoned(job, context)
    if job.target is JobState.RUNNING:
        return await end_saving(job, context, whole=False)
    lost = await _results_lost(job, context, failure)
    if lost is not None:
        return lost
    cleanup = job.partition is None and job.node is not None
    return await _release(job, context, cleanup=cleanup, wait=False)


async def _results_lost(
    job: Job, context: JobContext, failure: Failure | None = None
) -> Step | None:
    """What to do when a job ended well on a machine that goes before its results are home."""
    if job.target is not JobState.FINISHED or job.partition is None or job.node is None:
        return None
    if await are_home(job, context):
        return None
    record = await context.store.get_partition(job.partition)
    message = f"{job.node} went away before the job's results were home"
    if record is not None and record.reason == "preempted" and job.spec.on_eviction != "fail":
        event = EventDraft(f"{message}; it runs once more, elsewhere", "preempted")
        again = await requeue(job, context, event)
        if again.changes.get("state") is JobState.QUEUED:
            return Step({**again.changes, "target": JobState.RUNNING, "exit_code": None}, event)
        return again
    return Step.fail(failure or Failure("results_lost", message, "Start again."))


async def clean_up(job: Job, context: JobContext) -> Step:
    """Remove what a job that has ended left on a node that could not be reached then."""
    assert job.site is not None and job.node is not None  # noqa: S101 (typing)
    if context.sites.forgotten(job.site, job.node):
        event = EventDraft(f"{job.node} is no longer a node of {job.site}", reason="node_gone")
        return Step({"cleanup_pending": False}, event)
    attachment = await context.attachments.get(job)
    try:
        await _take_down(job, context, attachment)
    except NodeError as error:
        context.log.debug("Job %s: clean-up on %s waits: %s", job.id, job.node, error)
        return Step(retry=True)
    await context.attachments.close(job.id)
    event = EventDraft(f"{job.node} is back; what the job left there is removed", reason="cleaned")
    return Step({"cleanup_pending": False}, event)


async def _take_down(job: Job, context: JobContext, attachment: Attachment) -> Job:
    """Stop the job, bring its output home, and remove its folder, each verified."""
    runner = attachment.runner
    if (await runner.status()).state == "absent":
        # Never staged whole; or all is done, and the core was killed before it could say so.
        await runner.remove()
        return job
    job = await _with_tail(job, attachment)
    await runner.stop(context.settings.stop_grace)
    try:
        await bring_home(job, context, attachment)
    except StagingFailed as error:
        # The job's end is decided already: what cannot come home holds up nothing any more.
        if not error.permanent or (job.target is JobState.FINISHED and not job.state.final):
            raise
        context.log.info("Job %s: not all came home: %s", job.id, error)
    await tell_lost(job, context, attachment)
    await runner.remove()
    return job


async def _with_tail(job: Job, attachment: Attachment) -> Job:
    if job.failure is None or job.failure.log_tail:
        return job
    failure = dataclasses.replace(job.failure, log_tail=await attachment.runner.tail())
    return dataclasses.replace(job, failure=failure)


async def _release(job: Job, context: JobContext, *, cleanup: bool, wait: bool = True) -> Step:
    """Give back the tunnels and the partition; the reservation goes with the final state.

    Without ``wait`` the job ends although its partition is still there; the partition's own
    record sees to its removal.
    """
    await context.attachments.close(job.id, hang_up=job.partition is not None)
    record = await _give_back(job, context)
    sleeps = record is not None and record.target is PartitionState.SUSPENDED
    if record is not None and not record.state.final and not sleeps and wait:
        return Step({"failure": job.failure}) if job.failure else Step.wait()
    message = END_MESSAGES[job.target]
    hint = job.failure.hint if job.failure is not None else ""
    if cleanup:
        message += f"; what is left on {job.node} is removed when it answers again"
    elif job.target is JobState.FAILED and job.failure is not None:
        message = job.failure.message
    if record is not None and sleeps:
        message += f"; the machine sleeps (keep={record.keep})"
    event = EventDraft(message, reason=job.target.value.lower(), hint=hint)
    return Step.to(job.target, event, {"cleanup_pending": cleanup, "failure": job.failure})


async def _partition_leaving(job: Job, context: JobContext) -> bool:
    """Whether the job's partition was given back before, so that its node is no more."""
    if job.partition is None:
        return False
    record = await context.store.get_partition(job.partition)
    return record is None or record.target is not PartitionState.READY


async def _give_back(job: Job, context: JobContext) -> PartitionRecord | None:
    """The partition's record once its way to rest is stored."""
    if job.partition is None:
        return None
    record = await context.store.get_partition(job.partition)
    if record is not None and record.job_id != job.id:
        return None  # its owner's next job has it already
    return await context.partitions.give_back(job.partition, unused=job.node is None)
