"""What would become of a job if it were submitted now: the real plan, with nothing stored."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
import functools
import uuid
from collections.abc import Callable, Sequence

from .jobs.obstacles import Sorted
from .jobs.placement import Placer
from .model import Job, JobSpec
from .places import Listing, list_places
from .scheduling import NodeState, PendingJob, Placement, Timetable
from .scheduling.forecast import Ahead, Forecast, Release
from .store import Store
from .wire import OfferList, OfferRequest

FORESEEN = 200
"""Jobs ahead up to which a start is foretold."""


class WhatIf:
    """Plans one more job at the end of the queue."""

    def __init__(self, store: Store, placer: Placer) -> None:
        self._store = store
        self._placer = placer
        self._prospects = placer.prospects

    async def __call__(self, owner: str, request: OfferRequest) -> OfferList:
        """Where a job of the owner would go, when and at what price, and why not elsewhere."""
        now = dt.datetime.now(dt.timezone.utc)
        jobs = await self._store.active_jobs()
        job = _imagined(owner, request, now)
        found = await self._placer.obstacles.sort([*jobs, job], now)
        timetable = Timetable()
        if found.open:
            timetable = await self._placer.timetable(found.open, jobs)
        listing, foresee = await self._listing(job, jobs, found, timetable, now)
        return await asyncio.to_thread(_answer, job, found, timetable, listing, foresee)

    async def _listing(
        self,
        job: Job,
        jobs: Sequence[Job],
        found: Sorted,
        timetable: Timetable,
        now: dt.datetime,
    ) -> tuple[Listing, Callable[[], Forecast] | None]:
        """All that is known of the places, and what foretells when they are free."""
        nodes, _ = await self._prospects.nodes(jobs)
        pending = self._prospects.pending(job)
        queue = {each.id: each for each in found.open}
        others = [each for each in timetable.placements if each.job_id != job.id]
        starting = [
            (each, self._prospects.pending(queue[each.job_id]), queue[each.job_id].spec.walltime)
            for each in others
        ]
        nodes = _without(nodes, starting)
        ahead = [queue[each.job_id] for each in timetable.waiting if each.job_id != job.id]
        foresee = None
        if len(ahead) <= FORESEEN:
            waiting = [Ahead(self._prospects.pending(each), each.spec.walltime) for each in ahead]
            foresee = functools.partial(_foresee, nodes, jobs, starting, waiting, now)
        chosen = next((each for each in timetable.placements if each.job_id == job.id), None)
        taken = next((record for one, record in found.takes if one.id == job.id), None)
        sites = self._prospects.sites
        listing = Listing(
            job=pending,
            walltime=job.spec.walltime,
            nodes=nodes,
            offers=await sites.offers(),
            conditions=sites.conditions(),
            chosen=chosen,
            taken=taken,
            forecast=None,
            currency=self._prospects.currency,
            now=now,
        )
        return listing, foresee


def _imagined(owner: str, request: OfferRequest, now: dt.datetime) -> Job:
    """The job as one that has all it waits for by itself."""
    wish = JobSpec.model_validate(request.model_dump(include=set(JobSpec.model_fields)))
    spec = wish.model_copy(update={"inputs": (), "hold": False, "array": None})
    return Job(str(uuid.uuid4()), owner, spec, 0, created_at=now, state_since=now)


Starting = Sequence[tuple[Placement, PendingJob, "int | None"]]
"""Other jobs that would start now, where, and their walltimes."""


def _without(nodes: Sequence[NodeState], starting: Starting) -> list[NodeState]:
    """The nodes once the other jobs that can start now have started."""
    left = {node.key: node for node in nodes}
    for placement, job, _ in starting:
        key = f"{placement.site}/{placement.node}"
        if key in left:
            node = left[key]
            left[key] = dataclasses.replace(node, free=node.free - job.need)
    return list(left.values())


def _foresee(
    nodes: Sequence[NodeState],
    jobs: Sequence[Job],
    starting: Starting,
    waiting: Sequence[Ahead],
    now: dt.datetime,
) -> Forecast:
    return Forecast(nodes, [*_releases(jobs), *_planned(starting, now)], waiting, now)


def _releases(jobs: Sequence[Job]) -> list[Release]:
    return [
        Release(job.site, job.node, job.reserved, job.expires_at)
        for job in jobs
        if job.site and job.node and job.reserved and not job.partition and not job.state.final
    ]


def _planned(starting: Starting, now: dt.datetime) -> list[Release]:
    return [
        Release(placement.site, placement.node, job.need, now + dt.timedelta(seconds=walltime))
        for placement, job, walltime in starting
        if placement.node is not None and walltime is not None
    ]


def _answer(
    job: Job,
    found: Sorted,
    timetable: Timetable,
    listing: Listing,
    foresee: Callable[[], Forecast] | None,
) -> OfferList:
    """What to say, worked out; with a thousand nodes it takes a good part of a second."""
    if foresee is not None:
        listing = dataclasses.replace(listing, forecast=foresee())
    offers, total = list_places(listing)
    verdict = _verdict(job, found, timetable, listing)
    return verdict.model_copy(update={"offers": offers, "total": total})


def _verdict(job: Job, found: Sorted, timetable: Timetable, listing: Listing) -> OfferList:
    if listing.chosen is not None or listing.taken is not None:
        return OfferList(verdict="starts", start=listing.now, offers=[], total=0)
    never = [(each.reason, each.hint) for each in timetable.impossible if each.job_id == job.id]
    never += [(why.message, why.hint) for one, why in found.hopeless if one.id == job.id]
    if never:
        reason, hint = never[0]
        return OfferList(verdict="impossible", reason=reason, hint=hint, offers=[], total=0)
    for told in found.waiting:
        if told.job.id == job.id:
            return OfferList(
                verdict="waits", reason=told.reason, position=told.position, offers=[], total=0
            )
    waiting = next(each for each in timetable.waiting if each.job_id == job.id)
    start = None if listing.forecast is None else listing.forecast.start(listing.job)
    return OfferList(
        verdict="waits",
        reason=waiting.reason,
        position=waiting.position,
        start=start,
        offers=[],
        total=0,
    )
