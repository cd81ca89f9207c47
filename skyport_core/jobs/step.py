"""What a phase of the lifecycle decides: a change to store, or to be called again."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..model import EventDraft, Failure, JobState
from ..store import JobChanges


@dataclass(frozen=True)
class Step:
    """The outcome of one call of a phase.

    ``changes`` and ``event`` are stored together; ``again`` asks for another call after so many
    seconds, even if nothing wakes the job before; ``retry`` asks for one after a growing pause.
    """

    changes: JobChanges = field(default_factory=lambda: JobChanges())
    event: EventDraft | None = None
    again: float | None = None
    retry: bool = False

    @classmethod
    def to(
        cls, state: JobState, event: EventDraft | None = None, changes: JobChanges | None = None
    ) -> Step:
        """Enter another state."""
        return cls(changes={**(changes or {}), "state": state}, event=event)

    @classmethod
    def wait(cls, again: float | None = None) -> Step:
        """Stay; ``again`` None: until something wakes the job."""
        return cls(again=again)

    @classmethod
    def end(cls, target: JobState, event: EventDraft, changes: JobChanges | None = None) -> Step:
        """The end is decided: stop what runs, collect, then enter ``target``."""
        return cls.to(JobState.COLLECTING, event, {**(changes or {}), "target": target})

    @classmethod
    def fail(cls, failure: Failure, changes: JobChanges | None = None) -> Step:
        """The job failed for the given reason; what it holds is collected and released first."""
        event = EventDraft(failure.message, reason=failure.reason, hint=failure.hint)
        return cls.end(JobState.FAILED, event, {**(changes or {}), "failure": failure})
