"""ALLOCATING: the place is chosen; make sure that the node is there and lets us in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobState, PartitionState
from ..ssh.errors import NodeError
from .step import Step

if TYPE_CHECKING:
    from .context import JobContext


async def allocate(job: Job, context: JobContext) -> Step:
    """Wait for the partition, if one is being made, and log in to the node.

    Nothing of the job is on the node yet, so a node that turns out to be unusable only sends the
    job back to the queue, with that node excluded.
    """
    if job.partition is not None:
        waiting = await _partition(job, context)
        if waiting is not None:
            return waiting
    try:
        attachment = await context.attachments.get(job)
        await attachment.connection.ready(context.settings.login_timeout)
        await attachment.runner.job_dir()
    except NodeError as error:
        return await _elsewhere(job, context, error)
    return Step.to(
        JobState.STAGING, EventDraft(f"Logged in to {job.node}; bringing the files", reason="login")
    )


async def _partition(job: Job, context: JobContext) -> Step | None:
    """The step to take while the job's partition is not usable; None once it is."""
    assert job.partition is not None and job.site is not None  # noqa: S101 (typing)
    record = await context.store.get_partition(job.partition)
    if record is not None and record.state is PartitionState.READY:
        if job.node is None:
            nodes = await context.partitions.nodes(record)
            return Step(
                {"node": nodes[0].name},
                EventDraft(f"Node {nodes[0].name} is up", reason="node_up", progress=25),
                again=0,
            )
        return None
    if record is None or record.target is PartitionState.DELETED or record.state.final:
        why = record.error if record and record.error else "its resources could not be made"
        event = EventDraft(f"{job.site}: {why}", reason="place_failed")
        place = None
        if record is not None and context.sites.blocked(job.site, record.flavor) is None:
            place = f"{job.site}/{record.flavor}"
        return await requeue(job, context, event, exclude=place)
    context.partitions.wake(job.partition)
    return Step.wait()


async def _elsewhere(job: Job, context: JobContext, error: NodeError) -> Step:
    assert job.site is not None and job.node is not None  # noqa: S101 (typing)
    context.sites.suspect(job.site, job.node, str(error))
    if job.partition is not None and not error.permanent:
        # A machine that was just made may need a while until it lets anybody in.
        return Step(retry=True)
    event = EventDraft(error.message, reason=error.reason, hint=error.hint)
    place = f"{job.site}/{job.node}" if error.permanent else None
    return await requeue(job, context, event, exclude=place)


async def requeue(
    job: Job, context: JobContext, event: EventDraft, *, exclude: str | None = None
) -> Step:
    """Back to the queue; a failure once too many places were tried.

    ``exclude`` names a place that can never hold this job. What may be good again later (a node
    that does not answer now, an offer without capacity) is not excluded: the scheduler puts it
    last for a while, or leaves it out as long as it is blocked.
    """
    excluded = dict(job.excluded) if exclude is None else {**job.excluded, exclude: event.message}
    if job.attempt + 1 >= context.settings.max_attempts:
        tried = f"{job.attempt + 1} places were tried; the last: {event.message}"
        failure = Failure(event.reason, f"No place could be used. {tried}", event.hint)
        return Step.fail(failure, {"excluded": excluded})
    if job.partition is not None:
        await context.partitions.remove(job.partition)
    await context.attachments.close(job.id)
    return Step.to(
        JobState.QUEUED,
        event,
        {
            "excluded": excluded,
            "attempt": job.attempt + 1,
            "site": None,
            "node": None,
            "username": None,
            "partition": None,
            "reserved": None,
        },
    )
