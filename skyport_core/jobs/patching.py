"""What of a job may be changed after its submission."""

from __future__ import annotations

import datetime as dt

from ..model import EventDraft, Job, JobState
from ..service import ServiceError
from ..store import JobChanges
from ..wire import JobPatch

HOLDING = EventDraft("Held in the queue until it is released", reason="held")
RELEASED = EventDraft("Released; waiting for a place", reason="released")


def patched(job: Job, change: JobPatch) -> tuple[JobChanges, EventDraft | None]:
    """The changes that a request means for a job, and what to tell; none if it is so already.

    Raises
    ------
    ServiceError
        409: the state that the job is in does not allow it.
    """
    changes, told = JobChanges(), None
    spec: dict[str, object] = {}
    if change.held is not None and change.held is not job.held:
        told = _hold(job, change.held, changes)
    if change.walltime is not None and change.walltime != job.spec.walltime:
        told = _extend(job, change.walltime, changes)
        spec["walltime"] = change.walltime
    for name in ("name", "comment"):
        value = getattr(change, name)
        if value is not None and value != getattr(job.spec, name):
            spec[name] = value
    if spec:
        changes["spec"] = job.spec.model_copy(update=spec)
    return changes, told


def _hold(job: Job, held: bool, changes: JobChanges) -> EventDraft:
    if job.state is not JobState.QUEUED or job.target.final:
        raise _refusal(job, "held", "only a job that waits in the queue can be held or released")
    changes["held"] = held
    return HOLDING if held else RELEASED


def _extend(job: Job, walltime: int, changes: JobChanges) -> EventDraft:
    if job.target.final or job.state in (JobState.COLLECTING, *_ENDED):
        raise _refusal(job, "walltime", "its end is decided already")
    if job.started_at is not None and job.state is JobState.RUNNING:
        before = job.spec.walltime
        if before is None or walltime < before:
            limit = "has no limit" if before is None else f"may run {before} s"
            raise _refusal(
                job, "walltime", f"the job runs and {limit} already; it can only be given more"
            )
        changes["expires_at"] = job.started_at + dt.timedelta(seconds=walltime)
    return EventDraft(f"The walltime is {walltime} s now", reason="walltime")


_ENDED = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)


def _refusal(job: Job, field: str, why: str) -> ServiceError:
    message = f"{field}: job {job.id} is {job.state.value}, and {why}."
    return ServiceError(message, code="wrong_state", status=409, field=field)
