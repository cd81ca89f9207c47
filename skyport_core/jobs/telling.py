"""Events that a phase may come by more than once."""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

from ..model import EventDraft, Job

if TYPE_CHECKING:
    from .context import JobContext


async def tell_once(job: Job, context: JobContext, draft: EventDraft) -> None:
    """Add an event unless the job has it already since it came to the state that it is in."""
    events = reversed(await context.store.events(job.id))
    recent = takewhile(lambda event: event.state is job.state, events)
    if all(event.message != draft.message for event in recent):
        await context.store.add_event(job.id, draft)


def listed(names: tuple[str, ...], most: int = 5) -> str:
    """A few of many names, for people: the others are counted."""
    shown = ", ".join(repr(name if len(name) <= 100 else f"{name[:99]}…") for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
