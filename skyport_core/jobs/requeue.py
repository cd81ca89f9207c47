"""Back to the queue: how often a job may be placed anew, and what it takes along."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobState
from ..partitions.trouble import BLAMELESS
from .restarting import FRESH, REQUEUED
from .step import Step

if TYPE_CHECKING:
    from .context import JobContext

MAX_BOOTS = 3
"""Machines that nobody could log in to, after which a job fails."""


async def requeue(
    job: Job,
    context: JobContext,
    event: EventDraft,
    *,
    exclude: str | None = None,
    unused: bool = False,
    log_tail: str = "",
) -> Step:
    """Back to the queue; a failure once too many places were tried.

    The reasons of the job's events count the places: what says nothing against the job (an offer
    without room, a spot machine taken back) has a limit of its own, ``max_offers``.

    Parameters
    ----------
    exclude
        A place that can never hold this job. What may be good again later (a node that does not
        answer now, an offer without room) is not excluded: the scheduler puts it last for a while,
        or leaves it out as long as it is blocked.
    unused
        Nobody logged in to the machine made for the job.
    log_tail
        Goes into the failure, if it comes to that.
    """
    excluded = dict(job.excluded) if exclude is None else {**job.excluded, exclude: event.message}
    if job.partition is not None:
        await context.partitions.give_back(
            job.partition, reason=event.reason, error=event.message, unused=unused
        )
    complaint = await _too_often(job, context, event)
    if complaint is not None:
        failure = Failure(event.reason, complaint, event.hint, log_tail)
        return Step.fail(failure, {"excluded": excluded})
    await context.attachments.close(job.id, hang_up=job.partition is not None)
    return Step.to(
        JobState.QUEUED,
        event,
        {**FRESH, "excluded": excluded, "attempt": job.attempt + 1},
    )


async def _too_often(job: Job, context: JobContext, event: EventDraft) -> str | None:
    """What to tell when the job may not be placed once more."""
    # The event that ends an attempt carries the state that the job went back to.
    events = await context.store.events(job.id)
    tried = job.attempt + 1
    asked = max((told.seq for told in events if told.reason == REQUEUED.reason), default=0)
    if asked:
        # Who asks for a new start gets all the tries anew.
        events = [told for told in events if told.seq > asked]
        tried = sum(told.reason == "placed" for told in events)
    past = [told.reason for told in events if told.state is JobState.QUEUED]
    offers = sum(reason in BLAMELESS for reason in past)
    if event.reason in BLAMELESS:
        if offers + 1 < context.settings.max_offers:
            return None
        return f"No place could be used in {offers + 1} tries; the last: {event.message}"
    boots = past.count("boot") + 1
    if event.reason == "boot" and boots >= MAX_BOOTS:
        return f"{event.message}. It was the {boots}. machine made for this job"
    if tried - offers < context.settings.max_attempts:
        return None
    places = f"{tried - offers} places were tried"
    return f"No place could be used. {places}; the last: {event.message}"
