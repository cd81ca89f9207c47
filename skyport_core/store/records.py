"""What a change makes of a job, an event or a partition: rules without I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypedDict

from ..model import (
    PROGRESS,
    Event,
    EventDraft,
    Failure,
    Job,
    JobSpec,
    JobState,
    PartitionRecord,
    PartitionState,
    Resources,
)


class JobChanges(TypedDict, total=False):
    """The fields of a job that may change; the store itself sets the others."""

    state: JobState
    target: JobState
    site: str | None
    node: str | None
    flavor: str | None
    username: str | None
    partition: str | None
    reserved: Resources | None
    listen: tuple[str, int] | None
    forward_ports: Mapping[str, int]
    excluded: Mapping[str, str]
    attempt: int
    position: int | None
    wait_reason: str
    deadline: dt.datetime | None
    started_at: dt.datetime | None
    expires_at: dt.datetime | None
    ended_at: dt.datetime | None
    exit_code: int | None
    failure: Failure | None
    cleanup_pending: bool
    held: bool
    requeue: bool
    spec: JobSpec
    price: float | None
    currency: str
    share: float | None
    walltime_told: int | None


class PartitionChanges(TypedDict, total=False):
    """The fields of a partition's record that may change."""

    state: PartitionState
    target: PartitionState
    job_id: str
    keep: str
    price: float | None
    deadline: dt.datetime | None
    reason: str
    error: str


@dataclass(frozen=True)
class Mark:
    """How far a job's events have come: the last one's number and the progress reached."""

    seq: int = 0
    progress: int = 0

    def after(self, before: Job, now: Job) -> Mark:
        """The mark once the job changed: a new state lifts the progress to its usual value.

        A new attempt, or going back to the queue, starts over at 0.
        """
        floor = self.progress
        entered = now.state is not before.state
        if now.attempt > before.attempt or (entered and now.state is JobState.QUEUED):
            floor = 0
        return replace(self, progress=max(floor, PROGRESS[now.state]) if entered else floor)

    def next_event(self, job: Job, draft: EventDraft, time: dt.datetime) -> Event:
        """The job's next event; its progress never lies below the mark's."""
        return Event(
            job_id=job.id,
            seq=self.seq + 1,
            time=time,
            state=job.state,
            progress=min(100, max(self.progress, draft.progress or 0)),
            message=draft.message,
            reason=draft.reason,
            hint=draft.hint,
        )


def changed_job(job: Job, changes: JobChanges, now: dt.datetime) -> Job:
    """The job with ``changes``, one version on.

    Raises
    ------
    TypeError
        A field that does not exist or that the store alone sets.
    ValueError
        A job that ended would live again: its secrets and its number are gone.
    """
    _refuse_unknown(changes, JobChanges)
    new = replace(job, **changes, version=job.version + 1)
    if job.state.final and (new.state is not job.state):
        raise ValueError(
            f"Job {job.id} has ended as {job.state.value}; it cannot change its state."
        )
    if job.state.final and new.cleanup_pending and not job.cleanup_pending:
        raise ValueError(f"Job {job.id} gave its number back; its cleanup cannot be reopened.")
    if new.state is not job.state:
        new = replace(new, state_since=now)
        if new.state.final and new.ended_at is None:
            new = replace(new, ended_at=now)
    if new.state.final:
        new = replace(new, held=False, wait_reason="", position=None)
    elif job.held and not new.held:
        # It waits from now on; the time that it has for that was not to run out before.
        new = replace(new, state_since=now)
    return new


def changed_partition(
    record: PartitionRecord, changes: PartitionChanges, now: dt.datetime
) -> PartitionRecord:
    """The record with ``changes``, one version on; TypeError for a field that may not change."""
    _refuse_unknown(changes, PartitionChanges)
    new = replace(record, **changes, version=record.version + 1)
    return new if new.state is record.state else replace(new, state_since=now)


def _refuse_unknown(changes: Mapping[str, object], allowed: type) -> None:
    if unknown := changes.keys() - allowed.__annotations__.keys():
        raise TypeError(f"These fields cannot be changed: {', '.join(sorted(unknown))}.")
