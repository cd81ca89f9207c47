"""ALLOCATING: the place is chosen; make sure that the node is there and lets us in."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from ..model import EventDraft, Job, JobState, PartitionRecord, PartitionState
from ..partitions.trouble import BLAMELESS, block_for, key_of
from ..ssh.errors import NodeError
from .requeue import requeue
from .step import Step

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext


NOT_BEGUN = (PartitionState.REQUESTED, PartitionState.SUSPENDING, PartitionState.SUSPENDED)
"""States of a partition that its site has not yet agreed to make, or to wake."""


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
        if job.attempt > 0 and job.partition is not None:
            await _tidy(attachment)
        await attachment.runner.job_dir()
    except NodeError as error:
        return await _elsewhere(job, context, error)
    return Step.to(
        JobState.STAGING, EventDraft(f"Logged in to {job.node}; bringing the files", reason="login")
    )


async def _tidy(attachment: Attachment) -> None:
    """On a machine that is kept, an attempt that ended with its power may have left its folder."""
    runner = attachment.runner
    if (await runner.status()).state not in ("absent", "staged"):
        await runner.stop(grace=0)
        await runner.remove()


async def _partition(job: Job, context: JobContext) -> Step | None:
    """The step to take while the job's partition is not usable; None once it is."""
    assert job.partition is not None and job.site is not None  # noqa: S101 (typing)
    record = await context.store.get_partition(job.partition)
    if record is None or record.job_id != job.id:
        event = EventDraft(f"{job.site}: the machine belongs to another job", "place_failed")
        return await requeue(job, context, event)
    if record.target is PartitionState.SUSPENDED and not record.error:
        # The core was killed while the job got it, or took the job for one that never would.
        await context.partitions.claim(record)
        return Step.wait()
    if record.target is not PartitionState.READY:
        return await _refused(job, context, record)
    if record.state is PartitionState.READY:
        return await _node_up(job, context, record) if job.node is None else None
    context.partitions.wake(job.partition)
    return Step.wait()


async def _node_up(job: Job, context: JobContext, record: PartitionRecord) -> Step:
    """From here on its own time limit counts until somebody can log in."""
    nodes = await context.partitions.nodes(record)
    deadline = context.now() + dt.timedelta(seconds=context.settings.boot_timeout)
    event = EventDraft(f"Node {nodes[0].name} is up", reason="node_up", progress=25)
    return Step({"node": nodes[0].name, "deadline": deadline}, event, again=0)


async def _refused(job: Job, context: JobContext, record: PartitionRecord) -> Step:
    """The partition could not be made or woken; its record says why."""
    if record.reason == "boot":
        return await _no_boot(job, context, record, record.error)
    reason = record.reason if record.reason in BLAMELESS else "place_failed"
    why = record.error or "its resources could not be made"
    kept = record.target is PartitionState.SUSPENDED
    hint = f"Machine {record.keep!r} is kept, with all that is on it." if kept else ""
    event = EventDraft(f"{job.site}: {why}", reason=reason, hint=hint)
    # What the site calls impossible is not asked for again; the rest may be good again later.
    place = key_of(record) if record.reason == "invalid" else None
    return await requeue(job, context, event, exclude=place, unused=True)


async def overdue(job: Job, context: JobContext, message: str) -> Step:
    """The time to get a node that lets us in is over."""
    record = None if job.partition is None else await context.store.get_partition(job.partition)
    if record is None:
        if job.site is not None and job.node is not None:
            context.sites.suspect(job.site, job.node, message)
        return await requeue(job, context, EventDraft(message, reason="allocate_timeout"))
    if record.state in NOT_BEGUN:
        trouble = context.partitions.trouble(record.name)
        event = EventDraft(f"{message}. {trouble}" if trouble else message, "place_failed")
        return await requeue(job, context, event, unused=True)
    if record.target is PartitionState.READY:
        await context.partitions.diagnose(record)
    trouble = context.attachments.trouble(job.id)
    why = f"{message}: {trouble.rstrip('.')}" if trouble else message
    return await _no_boot(job, context, record, why)


async def _no_boot(job: Job, context: JobContext, record: PartitionRecord, why: str) -> Step:
    """A machine was made, but nobody can use it; what it printed is kept."""
    tail = await asyncio.to_thread(_tail, context.outputs(job.id) / "boot.log")
    hint = f"The last that it printed: {tail}" if tail else ""
    event = EventDraft(f"{job.site}: {why}", reason="boot", hint=hint)
    block_for(context.sites, record, why, context.settings.suspect_time)
    return await requeue(job, context, event, unused=True, log_tail=tail)


def _tail(path: Path, lines: int = 20) -> str:
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").rstrip().splitlines()[-lines:])


async def _elsewhere(job: Job, context: JobContext, error: NodeError) -> Step:
    assert job.site is not None and job.node is not None  # noqa: S101 (typing)
    if job.partition is not None:
        # A machine that was just made may need a while until it lets anybody in.
        return Step(retry=True)
    context.sites.suspect(job.site, job.node, str(error))
    event = EventDraft(error.message, reason=error.reason, hint=error.hint)
    place = f"{job.site}/{job.node}" if error.permanent else None
    return await requeue(job, context, event, exclude=place)
