"""The nodes and offers of one plan, kept so that a place is found fast."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

from ..model import Resources
from .offers import Conditions, Line, Offers, Wish, best_first, wish_of
from .plan import NodeState, Offer, PendingJob

Shape = tuple[Resources, Wish, "float | None"]
"""What decides which nodes and offers could ever hold a job: need, wish and highest price."""


def shape_of(job: PendingJob) -> Shape:
    """The job's shape; jobs of one shape have the same :class:`Fit`."""
    return job.need, wish_of(job), job.max_price


class Seat:
    """A node during planning: ``free`` shrinks with each placement.

    ``held`` is set once a waiting job keeps the node for itself.
    """

    def __init__(self, node: NodeState) -> None:
        self.node = node
        self.key = node.key
        self.free = node.free
        self.held = False
        self.rank = self._rank()

    def take(self, need: Resources) -> None:
        """Reserve ``need``."""
        self.free = self.free - need
        self.rank = self._rank()

    def _rank(self) -> tuple[bool, float, float, str, str]:
        node = self.node
        return node.suspect, self._load(), node.price or 0.0, node.site, node.name

    def _load(self) -> float:
        """Part of the scarcest resource that is taken, 0 to 1."""
        total, free = self.node.total, self.free
        parts = (
            (total.cpus, free.cpus),
            (total.memory, free.memory),
            (total.gpus, free.gpus),
        )
        return max((1 - left / whole for whole, left in parts if whole > 0), default=0.0)


class Pool:
    """Nodes that are alike: same site, flavor, size, price, and labels that matter.

    What fits one of them when it is empty fits all. The seats that may be used lie in a heap by
    rank (least loaded first). A rank only grows during a plan, so an entry whose rank is out of
    date is put right when it comes up.
    """

    def __init__(self, example: NodeState) -> None:
        self.example = example
        self.seats: list[Seat] = []
        self._heap: list[tuple[tuple[bool, float, float, str, str], int]] = []

    def add(self, node: NodeState) -> None:
        """Take a node in."""
        seat = Seat(node)
        if node.available:
            heapq.heappush(self._heap, (seat.rank, len(self.seats)))
        self.seats.append(seat)

    @property
    def exhausted(self) -> bool:
        """Whether every node is held or unavailable."""
        return not self._heap

    def best(self, job: PendingJob) -> Seat | None:
        """The first seat by rank that can take the job now."""
        passed = []
        found = None
        while self._heap and found is None:
            rank, index = self._heap[0]
            seat = self.seats[index]
            if rank != seat.rank:
                heapq.heapreplace(self._heap, (seat.rank, index))
                continue
            if job.need.fits_in(seat.free) and seat.key not in job.excluded:
                found = seat
                break
            passed.append(heapq.heappop(self._heap))
        for entry in passed:
            heapq.heappush(self._heap, entry)
        return found

    def hold(self, excluded: Mapping[str, str]) -> None:
        """Keep all seats but the excluded ones from later jobs."""
        for _, index in self._heap:
            seat = self.seats[index]
            seat.held = seat.key not in excluded
        self._heap = [entry for entry in self._heap if not self.seats[entry[1]].held]
        heapq.heapify(self._heap)


class Fit:
    """What could hold the jobs of one shape, if it were empty, up and not excluded.

    Parameters
    ----------
    pools : list of Pool
        Nodes.
    lines : list of Line
        Offers, maybe too small or too dear ones among them.
    conditions : Conditions
        What keeps offers from being used.
    """

    def __init__(self, pools: list[Pool], lines: Sequence[Line], conditions: Conditions) -> None:
        self.pools = pools
        self._lines = lines
        self._conditions = conditions
        self._open = pools  # those that are not exhausted yet
        self._best: tuple[Offer | None] | None = None

    def offers(self, job: PendingJob) -> Iterator[Offer]:
        """The offers that could hold the job, the best first."""
        return best_first(self._lines, job)

    def best_seat(self, job: PendingJob) -> Seat | None:
        """Where to put the job now: sound nodes first, then such without GPUs, then by load."""
        self._open = [pool for pool in self._open if not pool.exhausted]
        seats = [seat for pool in self._open if (seat := pool.best(job)) is not None]
        return min(seats, key=lambda seat: _preference(seat, job), default=None)

    def best_offer(self, job: PendingJob) -> Offer | None:
        """The cheapest offer that can be used now."""
        if job.excluded:
            return self._find_offer(job)
        # Offers have no end: what is the best for one is so for all that have no bad experience.
        if self._best is None:
            self._best = (self._find_offer(job),)
        return self._best[0]

    def open_offers(self, job: PendingJob) -> Iterator[Offer]:
        """Those of :meth:`offers` whose site is not closed."""
        closed = self._conditions.closed
        if not closed:
            return self.offers(job)
        return best_first([line for line in self._lines if line.site not in closed], job)

    def closed_sites(self, job: PendingJob) -> list[str]:
        """The closed sites that would have an offer for the job."""
        closed = {
            site: [line for line in self._lines if line.site == site]
            for site in self._conditions.closed
        }
        return sorted(site for site, lines in closed.items() if any(best_first(lines, job)))

    def _find_offer(self, job: PendingJob) -> Offer | None:
        trouble = self._conditions.trouble
        for offer in self.open_offers(job):
            if trouble(offer) is None and not (job.excluded and offer.key in job.excluded):
                return offer
        return None

    def hold(self, excluded: Mapping[str, str]) -> None:
        """Keep all nodes that could hold the job from later jobs."""
        for pool in self._open:
            pool.hold(excluded)


def _preference(seat: Seat, job: PendingJob) -> tuple[bool, bool, tuple[object, ...]]:
    wastes_gpus = seat.node.total.gpus > 0 and job.need.gpus == 0
    return seat.node.suspect, wastes_gpus, seat.rank


class Inventory:
    """All nodes and offers, with what fits which shape worked out once."""

    def __init__(
        self,
        queue: Sequence[PendingJob],
        nodes: Sequence[NodeState],
        offers: Offers,
        conditions: Conditions,
    ) -> None:
        self.offers = offers
        self.conditions = conditions
        # Labels that no job asks for do not make nodes different.
        self.pools = _pools(nodes, {label for job in queue for label in job.labels.items()})
        self._fits: dict[Shape, Fit] = {}

    def fit(self, job: PendingJob) -> Fit:
        """What could hold jobs of this shape."""
        shape = shape_of(job)
        fit = self._fits.get(shape)
        if fit is None:
            pools = [
                pool
                for pool in self.pools
                if admits_node(pool.example, job)
                and job.need.fits_in(pool.example.total)
                and (job.max_price is None or (pool.example.price or 0.0) <= job.max_price)
            ]
            fit = self._fits[shape] = Fit(pools, self.offers.lines(job), self.conditions)
        return fit


def admits_node(node: NodeState, job: PendingJob) -> bool:
    """Whether a fixed node is of the kind that the job asks for, whatever its size and price.

    It lies in no region, is never taken back, cannot sleep, and is one by itself.
    """
    return (
        job.site in (None, node.site)
        and (job.sites is None or node.site in job.sites)
        and job.flavor in (None, node.flavor)
        and job.region is None
        and job.zone is None
        and not job.spot
        and not job.keep
        and job.nodes == 1
        and (job.storage is None or job.storage <= node.storage)
        and all(node.labels.get(name) == value for name, value in job.labels.items())
    )


def _pools(nodes: Iterable[NodeState], labels: Set[tuple[str, str]]) -> list[Pool]:
    pools: dict[object, Pool] = {}
    for node in sorted(nodes, key=lambda node: (node.site, node.name)):
        alike = (
            *(node.site, node.flavor, node.total, node.price, node.storage),
            frozenset(node.labels.items() & labels),
        )
        if alike not in pools:
            pools[alike] = Pool(node)
        pools[alike].add(node)
    return list(pools.values())
