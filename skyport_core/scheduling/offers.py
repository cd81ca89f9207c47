"""The offers of all sites, sorted and indexed once for many plans."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ..model import Resources
from .plan import Offer, PendingJob

REMEMBERED = 64
"""Wishes whose offers an :class:`Offers` remembers."""

Rank = tuple[float, bool, str, str, int]
"""Price, GPUs or not, site, flavor, and place in the site's own order: the least is best.

The price is infinite where the site bills but it is not known: such an offer comes last, and no
``max_price`` allows it.
"""

Wish = tuple[
    "str | None",
    "frozenset[str] | None",
    "str | None",
    "str | None",
    "str | None",
    "bool | None",
    bool,
    "int | None",
    bool,
    bool,
    "frozenset[tuple[str, str]]",
]
"""What a job asks of its place, whatever the size and the price."""


def wish_of(job: PendingJob) -> Wish:
    """The job's wish; jobs of one wish choose from the same offers."""
    return (
        job.site,
        job.sites,
        job.flavor,
        job.region,
        job.zone,
        job.spot,
        job.keep,
        job.storage,
        job.nodes > 1,
        job.relocatable,
        frozenset(job.labels.items()),
    )


@dataclass(frozen=True)
class Trouble:
    """Why an offer cannot be used now, and when it is tried again (None: not known)."""

    reason: str
    until: dt.datetime | None = None


@dataclass(frozen=True)
class Conditions:
    """What holds for the offers at one moment.

    Attributes
    ----------
    trouble
        Why an offer cannot be used; None if it can.
    closed
        Sites none of whose offers can be used.
    """

    trouble: Callable[[Offer], Trouble | None]
    closed: Mapping[str, Trouble] = field(default_factory=dict)


def own_trouble(offer: Offer) -> Trouble | None:
    """Why the site itself says that an offer is not available; None if it is."""
    return None if offer.available else Trouble(offer.reason)


FAIR = Conditions(own_trouble)
"""Nothing is known but what the sites say of their offers."""


class Ranked(NamedTuple):
    """An offer with its place in the order of preference."""

    rank: Rank
    offer: Offer


class Line(NamedTuple):
    """The offers of one flavor that a wish chooses from, the best first."""

    site: str
    cpus: float
    memory: int
    gpus: int
    offers: Sequence[Ranked]

    def holds(self, need: Resources) -> bool:
        """Whether one such node is large enough."""
        return need.cpus <= self.cpus and need.memory <= self.memory and need.gpus <= self.gpus


@dataclass
class _Flavor:
    """All offers of one flavor at a site, the best first."""

    example: Offer
    offers: list[Ranked] = field(default_factory=list)


class Offers:
    """All offers, immutable: what fits which wish is worked out once and remembered.

    Parameters
    ----------
    offers : iterable of Offer
        Those of one flavor are alike in size and labels, and come in the order in which their
        site prefers them: that decides between equal prices.
    """

    def __init__(self, offers: Iterable[Offer] = ()) -> None:
        given = list(offers)
        billed = {offer.site for offer in given if offer.price is not None}
        ranked = [
            Ranked(_rank(offer, index, offer.site in billed), offer)
            for index, offer in enumerate(given)
        ]
        ranked.sort(key=lambda each: each.rank)
        self._flavors: dict[tuple[str, str], _Flavor] = {}
        for each in ranked:
            offer = each.offer
            flavor = self._flavors.setdefault((offer.site, offer.flavor), _Flavor(offer))
            flavor.offers.append(each)
        self._by_name: dict[str, list[_Flavor]] = {}
        for (_, name), flavor in self._flavors.items():
            self._by_name.setdefault(name, []).append(flavor)
        self._lines: dict[Wish, list[Line]] = {}
        self._count = len(ranked)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Offer]:
        return (each.offer for flavor in self._flavors.values() for each in flavor.offers)

    def lines(self, job: PendingJob) -> list[Line]:
        """What the job's wish chooses from, by flavor, that with the best offer first."""
        wish = wish_of(job)
        lines = self._lines.get(wish)
        if lines is None:
            while len(self._lines) >= REMEMBERED:
                del self._lines[next(iter(self._lines))]
            lines = self._lines[wish] = self._find(job)
        return lines

    def _find(self, job: PendingJob) -> list[Line]:
        flavors: Iterable[_Flavor] = self._flavors.values()
        if job.flavor is not None:
            flavors = self._by_name.get(job.flavor, ())
        anywhere = (job.region, job.zone, job.spot) == (None, None, None)
        lines = []
        for flavor in flavors:
            if not admits_flavor(flavor.example, job):
                continue
            found = flavor.offers
            if not anywhere:
                found = [each for each in found if admits_terms(each.offer, job)]
            if found:
                size = flavor.example.total
                site = flavor.example.site
                lines.append(Line(site, size.cpus, size.memory, size.gpus, found))
        lines.sort(key=lambda line: line.offers[0].rank)
        return lines


def admits_flavor(offer: Offer, job: PendingJob) -> bool:
    """Whether the flavor of an offer is one that the job asks for, whatever its size."""
    return (
        job.site in (None, offer.site)
        and (job.sites is None or offer.site in job.sites)
        and job.flavor in (None, offer.flavor)
        and job.relocatable
        and (offer.suspendable or not job.keep)
        and (job.storage is None or job.storage <= offer.storage)
        and all(offer.labels.get(name) == value for name, value in job.labels.items())
    )


def admits_terms(offer: Offer, job: PendingJob) -> bool:
    """Whether region, zone and spot are what the job asks for."""
    return (
        job.region in (None, offer.region)
        and job.zone in (None, offer.zone)
        and job.spot in (None, offer.spot)
    )


def best_first(lines: Sequence[Line], job: PendingJob) -> Iterator[Offer]:
    """The offers that are large enough and not too dear, lazily, the best first."""
    limit = float("inf") if job.max_price is None else job.max_price
    for rank, offer in _merged(lines, job.need):
        price = rank[0]
        if price > limit:
            return
        yield offer


def _merged(lines: Sequence[Line], need: Resources) -> Iterator[Ranked]:
    waiting: list[tuple[Rank, int, int]] = []
    for number, line in enumerate(lines):
        if not line.holds(need):
            continue
        first = line.offers[0].rank
        # The lines lie by their best offers: what comes later cannot be better than these.
        while waiting and waiting[0][0] < first:
            yield _next(waiting, lines)
        heapq.heappush(waiting, (first, number, 0))
    while waiting:
        yield _next(waiting, lines)


def _next(waiting: list[tuple[Rank, int, int]], lines: Sequence[Line]) -> Ranked:
    """Take the best offer out; the next of its line takes its place."""
    _, number, index = waiting[0]
    offers = lines[number].offers
    if index + 1 < len(offers):
        heapq.heapreplace(waiting, (offers[index + 1].rank, number, index + 1))
    else:
        heapq.heappop(waiting)
    return offers[index]


def _rank(offer: Offer, index: int, billed: bool) -> Rank:
    price = offer.price
    if price is None:
        price = float("inf") if billed else 0.0
    return price, offer.total.gpus > 0, offer.site, offer.flavor, index
