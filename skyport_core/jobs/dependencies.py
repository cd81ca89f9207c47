"""Jobs that wait for other jobs: when they may start, and when they never can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..model import Condition, Dependency, Job, JobState


@dataclass(frozen=True)
class Waits:
    """Not yet; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True)
class Never:
    """What the job waits for cannot happen any more."""

    reason: str


WORDS = {
    Condition.AFTER: "has started",
    Condition.AFTER_ANY: "has ended",
    Condition.AFTER_OK: "has finished",
    Condition.AFTER_NOT_OK: "has failed",
}


def judge(
    dependencies: Sequence[Dependency], known: Mapping[str, Sequence[Job]]
) -> Waits | Never | None:
    """What the jobs that another waits for mean for it; None: it may start.

    Parameters
    ----------
    dependencies
        What it waits for.
    known
        The jobs that each id stands for: one, or all those of an array; none for one whose record
        was deleted, which happens to jobs that have ended only.
    """
    waits = None
    for dependency in dependencies:
        verdict = _judge(dependency, known.get(dependency.job, ()))
        if isinstance(verdict, Never):
            return verdict
        waits = waits or verdict
    return waits


def _judge(dependency: Dependency, jobs: Sequence[Job]) -> Waits | Never | None:
    if dependency.when is Condition.AFTER:
        open_jobs = [job for job in jobs if not (job.state.final or job.started_at is not None)]
    else:
        open_jobs = [job for job in jobs if not job.state.final]
    if dependency.when is Condition.AFTER_OK:
        bad = next((job for job in jobs if _failed(job)), None)
        if bad is not None:
            ended = bad.state.value
            return Never(f"Job {bad.id}, which must have finished first, is {ended}")
    if open_jobs:
        return Waits(f"Waits until job {open_jobs[0].id} {WORDS[dependency.when]}")
    if not jobs and dependency.when in (Condition.AFTER_OK, Condition.AFTER_NOT_OK):
        return Never(f"The record of job {dependency.job} was deleted, so its end is not known")
    if dependency.when is Condition.AFTER_NOT_OK and not any(_failed(job) for job in jobs):
        return Never(f"Job {dependency.job}, which must have failed first, is FINISHED")
    return None


def _failed(job: Job) -> bool:
    return job.state in (JobState.FAILED, JobState.CANCELLED)
