"""Jobs that wait for other jobs: when they may start, and when they never can."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..model import Condition, Dependency, Job
from ..store import Tally


@dataclass(frozen=True)
class Waits:
    """Not yet; ``reason`` is for people."""

    reason: str


@dataclass(frozen=True)
class Never:
    """What the job waits for cannot happen any more."""

    reason: str


Verdict = Waits | Never | None
"""None: nothing is waited for."""

WORDS = {
    Condition.AFTER: "has started",
    Condition.AFTER_ANY: "has ended",
    Condition.AFTER_OK: "has finished",
    Condition.AFTER_NOT_OK: "has failed",
}


class Judge:
    """Tells what other jobs mean for those that wait for them.

    Thousands may wait for one and the same: each condition is looked at once.

    Parameters
    ----------
    tallies
        The jobs that each id stands for. None for one whose record was deleted, which happens
        to jobs that have ended only, and not while a job that has not ended depends on them.
    settled
        Ids of jobs that had a place once: what these waited for has happened, whatever became of
        it since.
    """

    def __init__(self, tallies: Mapping[str, Tally], settled: Collection[str] = ()) -> None:
        self._tallies = tallies
        self._settled = settled
        self._known: dict[tuple[str, Condition], Verdict] = {}

    def of(self, job: Job) -> Verdict:
        """What the jobs that a job waits for mean for it."""
        return None if job.id in self._settled else self.verdict(job.spec.dependencies)

    def verdict(self, dependencies: Sequence[Dependency]) -> Verdict:
        """What the jobs that another waits for mean for it; None: it may start."""
        waits = None
        for dependency in dependencies:
            key = (dependency.job, dependency.when)
            if key not in self._known:
                self._known[key] = _verdict(*key, self._tallies.get(dependency.job))
            verdict = self._known[key]
            if isinstance(verdict, Never):
                return verdict
            waits = waits or verdict
        return waits


def _verdict(name: str, when: Condition, tally: Tally | None) -> Verdict:
    if tally is None:
        if when in (Condition.AFTER_OK, Condition.AFTER_NOT_OK):
            return Never(f"The record of job {name} was deleted, so its end is not known")
        return None
    bad = tally.failed + tally.cancelled
    what = f"{'Array' if tally.array else 'Job'} {name}"
    if when is Condition.AFTER_OK and bad:
        return Never(f"{what}, which must have finished first, {_ended_badly(tally)}")
    if tally.unstarted if when is Condition.AFTER else tally.live:
        # Of an array never the job that is next: each end of one would be news to all that wait.
        return Waits(f"Waits until {what[0].lower()}{what[1:]} {WORDS[when]}")
    if when is Condition.AFTER_NOT_OK and not bad:
        return Never(f"{what}, which must have failed first, is FINISHED")
    return None


def _ended_badly(tally: Tally) -> str:
    if not tally.array:
        return "is FAILED" if tally.failed else "is CANCELLED"
    counts = ((tally.failed, "failed"), (tally.cancelled, "cancelled"))
    return f"has {' and '.join(f'{count} {word} jobs' for count, word in counts if count)}"
