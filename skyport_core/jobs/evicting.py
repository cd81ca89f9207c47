"""A job whose machine is taken away: save what can be saved, and go on elsewhere."""

from __future__ import annotations

import asyncio
import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from ..confined import walk_files
from ..model import EventDraft, Eviction, Failure, Job, JobState, PartitionRecord, PartitionState
from ..outputs import OUTPUTS
from .requeue import requeue
from .results import bring_home
from .step import Step

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

MARGIN = 2.0
"""Seconds before the machine's end at which saving is over."""

GRACE_SHARE = 0.3
"""Part of the time that is left which a job gets to end in good order."""

ON_NODE = frozenset({JobState.STAGING, JobState.STARTING, JobState.RUNNING})


async def taken(job: Job, context: JobContext) -> Step | None:
    """What to do for a job on a machine that goes or is gone; None while it is well."""
    if job.partition is None or job.state not in ON_NODE:
        return None
    record = await context.store.get_partition(job.partition)
    if record is None or record.target is not PartitionState.READY:
        return await _lost(job, context, record)
    notice = context.attachments.notice(job.id)
    if notice is None or not record.spot:
        # Any program of the user can write a notice; only spot machines really get one.
        return None
    now = context.now()
    end = dt.datetime.fromtimestamp(notice.end, dt.timezone.utc)
    left = max(0.0, (end - now).total_seconds())
    message = f"{job.site} takes this spot machine back in {left:.0f} s; saving the results"
    deadline = end - dt.timedelta(seconds=MARGIN)
    event = EventDraft(message, reason="preempted")
    return Step.to(JobState.COLLECTING, event, {"deadline": deadline})


async def _lost(job: Job, context: JobContext, record: PartitionRecord | None) -> Step:
    """The machine went without notice."""
    if record is not None and record.reason == "preempted":
        why = f"{job.site} took the machine back without notice"
        return await go_on(job, context, f"{why}; nothing could be saved")
    message = f"Site {job.site} no longer has the node that it made for the job"
    hint = f"{record.error}. Start again." if record and record.error else "Start again."
    return Step.fail(Failure("node_gone", message, hint))


async def save(job: Job, context: JobContext) -> Step:
    """COLLECTING on the way to RUNNING elsewhere: bring home what there is time for."""
    assert job.partition is not None  # noqa: S101 (typing)
    record = await context.store.get_partition(job.partition)
    if record is None or record.target is not PartitionState.READY:
        return await end_saving(job, context, whole=False)
    attachment = await context.attachments.get(job)
    if (await attachment.runner.status()).state not in ("absent", "staged"):
        await _save(job, context, attachment)
    return await end_saving(job, context, whole=True)


async def _save(job: Job, context: JobContext, attachment: Attachment) -> None:
    left = (job.deadline - context.now()).total_seconds() if job.deadline else 0.0
    grace = min(context.settings.stop_grace, max(0.0, left) * GRACE_SHARE)
    await attachment.runner.stop(grace)
    await bring_home(job, context, attachment)


async def end_saving(job: Job, context: JobContext, *, whole: bool) -> Step:
    """The results are saved, or the time is over: on to another machine, or the end."""
    folder = context.outputs(job.id)
    names = await asyncio.to_thread(_saved, folder, job.state_since)
    if whole:
        what = f"{len(names)} result files are saved" if names else "its log is saved"
    elif names:
        what = f"there was time for these results only: {_listed(names)}"
    else:
        what = "there was no time to save results"
    return await go_on(job, context, f"{job.site} takes the machine of this job back; {what}")


async def go_on(job: Job, context: JobContext, message: str) -> Step:
    """Give the machine up; then what the job wants for this case.

    No offer is blocked here: a notice is the word of the node alone, and concerns no other job.
    """
    assert job.partition is not None  # noqa: S101 (typing)
    record = await context.partitions.give_back(job.partition, reason="preempted", error=message)
    if job.spec.on_eviction is Eviction.FAIL:
        hint = "Start again, on a machine that is not spot if it must not be interrupted."
        return Step.fail(Failure("preempted", message, hint))
    kept = record is not None and record.target is PartitionState.SUSPENDED
    plan = "It sleeps, and goes on as soon as it can be woken" if kept else "Going on elsewhere"
    return await requeue(job, context, EventDraft(f"{message}. {plan}", "preempted"))


def _saved(folder: Path, since: dt.datetime) -> list[str]:
    """Relative paths of the results that came home since then."""
    recent = since.timestamp() - 1
    return sorted(name for name, found in walk_files(folder / OUTPUTS) if found.st_mtime >= recent)


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
