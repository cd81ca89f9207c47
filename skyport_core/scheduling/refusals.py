"""Why a job can never run, and what its user can do, in words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from ..model import Resources
from .inventory import Fit, Inventory
from .plan import Impossible, NodeState, Offer, PendingJob
from .words import labels_of, money, name_of, place_of, wish

Place = NodeState | Offer
Places = list[Place]

LISTED = 20
"""How many names a hint lists."""


class Refusals:
    """Finds what of a job's wishes nothing satisfies.

    The wishes are looked at one after the other, each among the places that satisfy those before
    it; the first that leaves nothing is what the user hears of, with what there is instead.
    """

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._all: Places | None = None
        # Users submit many jobs that are alike.
        self._known: dict[int, Impossible] = {}

    def find(self, job: PendingJob, fit: Fit) -> Impossible | None:
        """Why no place could ever hold the job; None if one could."""
        if fit.pools or next(fit.offers(job), None) is not None:
            return _all_excluded(job, fit)
        known = self._known.get(id(fit))
        if known is None:
            known = self._known[id(fit)] = self._refuse(job)
        return replace(known, job_id=job.id)

    def _refuse(self, job: PendingJob) -> Impossible:
        places = self._places()
        if not places:
            return Impossible(
                job.id, "There are no nodes to run jobs on.", "An admin must configure a site."
            )
        for accepts, refusal in CRITERIA:
            left = [place for place in places if accepts(place, job)]
            if not left:
                return refusal(job, places)
            places = left
        return _too_dear(job, places)

    def _places(self) -> Places:
        if self._all is None:
            nodes = [pool.example for pool in self._inventory.pools]
            self._all = [*nodes, *self._inventory.offers]
        return self._all


def _all_excluded(job: PendingJob, fit: Fit) -> Impossible | None:
    if not job.excluded:
        return None
    failed = []
    for key in _keys(job, fit):
        if key not in job.excluded:
            return None
        failed.append(f"{key}: {job.excluded[key]}")
    return Impossible(
        job.id,
        f"The job failed on every node that could hold it. {'; '.join(failed)}",
        "Ask an admin to repair a node, or ask for another one.",
    )


def _keys(job: PendingJob, fit: Fit) -> Iterator[str]:
    for pool in fit.pools:
        yield from (seat.key for seat in pool.seats)
    yield from (offer.key for offer in fit.offers(job))


def _no_site(job: PendingJob, places: Places) -> Impossible:
    sites = _listed({place.site for place in places})
    if job.site is not None:
        reason = f"Site {job.site!r} has no nodes."
    else:
        reason = f"The sites {_listed(job.sites or ())} have no nodes."
    return Impossible(job.id, reason, f"Choose one of the sites {sites}.")


def _no_flavor(job: PendingJob, places: Places) -> Impossible:
    return Impossible(
        job.id,
        f"There is no flavor {job.flavor!r}{_at_site(job)}.",
        f"Choose one of the flavors {_listed({place.flavor for place in places})}.",
    )


def _no_region(job: PendingJob, places: Places) -> Impossible:
    regions = {place.region for place in places if isinstance(place, Offer) and place.region}
    what = f"Flavor {job.flavor}" if job.flavor else "Nothing"
    return Impossible(
        job.id,
        f"{what} is {'not ' if job.flavor else ''}offered in region {job.region!r}{_at_site(job)}.",
        f"Choose one of the regions {_listed(regions)}." if regions else "Name no region.",
    )


def _no_zone(job: PendingJob, places: Places) -> Impossible:
    zones = {place.zone for place in places if isinstance(place, Offer) and place.zone}
    where = f" of region {job.region}" if job.region else ""
    what = f"Flavor {job.flavor}" if job.flavor else "Nothing"
    return Impossible(
        job.id,
        f"{what} is {'not ' if job.flavor else ''}offered in zone {job.zone!r}{where}"
        f"{_at_site(job)}.",
        f"Choose one of the zones {_listed(zones)}." if zones else "Name no zone.",
    )


def _no_spot(job: PendingJob, places: Places) -> Impossible:
    if job.spot:
        reason = f"{_nodes(job)} are not offered as spot nodes."
        return Impossible(job.id, reason, "Ask for no spot node, or for another flavor or region.")
    return Impossible(
        job.id,
        f"{_nodes(job)} are offered as spot nodes only, which may be taken back at any time.",
        "Allow spot nodes, or ask for another flavor or region.",
    )


def _no_sleep(job: PendingJob, places: Places) -> Impossible:
    return Impossible(
        job.id,
        f"{_nodes(job)} cannot sleep, so none can be kept.",
        "Ask for another flavor, or keep no machine.",
    )


def _no_team(job: PendingJob, places: Places) -> Impossible:
    return Impossible(
        job.id,
        f"{_nodes(job)} exist already and are given to jobs one by one: a job cannot have"
        f" {job.nodes} of them.",
        "Ask for one node, or for a site that makes its nodes on demand.",
    )


def _not_made(job: PendingJob, places: Places) -> Impossible:
    return Impossible(
        job.id,
        f"{_nodes(job)} would have to be made, and the job is only for nodes that exist.",
        "Make the job relocatable, or ask for another site or flavor.",
    )


def _no_disk(job: PendingJob, places: Places) -> Impossible:
    largest = max(places, key=lambda place: (place.storage, place.site, name_of(place)))
    has = f"{largest.storage} GiB" if largest.storage else "a disk of unknown size"
    return Impossible(
        job.id,
        f"No node has {job.storage} GiB of disk: the largest is {name_of(largest)} at site"
        f" {largest.site} with {has}.",
        f"Ask for at most {largest.storage} GiB." if largest.storage else "Ask for no disk size.",
    )


def _no_labels(job: PendingJob, places: Places) -> Impossible:
    flavor = f" of flavor {job.flavor}" if job.flavor else ""
    return Impossible(
        job.id,
        f"No node{flavor}{_in_place(job)}{_at_site(job)} carries the labels {labels_of(job)}.",
        "Ask for other labels, or none.",
    )


def _too_large(job: PendingJob, places: Places) -> Impossible:
    def size(place: Place) -> tuple[float, ...]:
        total = place.total
        gpus = total.gpus if job.need.gpus else 0
        return gpus, total.cpus, total.memory

    largest = max(places, key=lambda place: (size(place), place.site, name_of(place)))
    return Impossible(
        job.id,
        f"No node can hold {wish(job)}: the largest is {name_of(largest)} at site {largest.site}"
        f" with {largest.total}.",
        f"Ask for less: {_limits(job.need, largest.total)}.",
    )


def _limits(need: Resources, total: Resources) -> str:
    limits = []
    if need.cpus > total.cpus:
        limits.append(f"at most {total.cpus:g} cpus")
    if need.memory > total.memory:
        limits.append(f"at most {total.memory} MiB")
    if need.gpus > total.gpus:
        limits.append(f"at most {total.gpus} gpus" if total.gpus else "no gpus")
    return ", ".join(limits)


def _too_dear(job: PendingJob, places: Places) -> Impossible:
    limit = money(job.max_price or 0.0)
    known = [(place.price, name_of(place), place) for place in places if place.price is not None]
    if not known:
        return Impossible(
            job.id,
            f"No price is known of the nodes that could hold {job.need}, so that it is not sure"
            f" that one costs at most {limit} per hour.",
            "Ask without a highest price.",
        )
    price, name, place = min(known, key=lambda each: each[:2])
    where = place_of(place) if isinstance(place, Offer) else ""
    return Impossible(
        job.id,
        f"No node that can hold {job.need} costs at most {limit} per hour: the cheapest is"
        f" {name}{where} at site {place.site} with {money(price)}.",
        "Raise the highest price, or ask for less.",
    )


def _enough(place: Place, job: PendingJob) -> bool:
    return job.need.fits_in(place.total)


def _in_region(place: Place, job: PendingJob) -> bool:
    return job.region is None or (isinstance(place, Offer) and place.region == job.region)


def _in_zone(place: Place, job: PendingJob) -> bool:
    return job.zone is None or (isinstance(place, Offer) and place.zone == job.zone)


def _spot_or_not(place: Place, job: PendingJob) -> bool:
    return job.spot in (None, isinstance(place, Offer) and place.spot)


def _sleeps(place: Place, job: PendingJob) -> bool:
    return not job.keep or (isinstance(place, Offer) and place.suspendable)


def _in_team(place: Place, job: PendingJob) -> bool:
    return job.nodes == 1 or isinstance(place, Offer)


def _may_be_made(place: Place, job: PendingJob) -> bool:
    return job.relocatable or isinstance(place, NodeState)


def _disk(place: Place, job: PendingJob) -> bool:
    return job.storage is None or job.storage <= place.storage


def _carries(place: Place, job: PendingJob) -> bool:
    return all(place.labels.get(name) == value for name, value in job.labels.items())


def _at(place: Place, job: PendingJob) -> bool:
    return job.site in (None, place.site) and (job.sites is None or place.site in job.sites)


def _of_flavor(place: Place, job: PendingJob) -> bool:
    return job.flavor in (None, place.flavor)


CRITERIA: tuple[
    tuple[Callable[[Place, PendingJob], bool], Callable[[PendingJob, Places], Impossible]], ...
] = (
    (_at, _no_site),
    (_of_flavor, _no_flavor),
    (_in_region, _no_region),
    (_in_zone, _no_zone),
    (_spot_or_not, _no_spot),
    (_sleeps, _no_sleep),
    (_in_team, _no_team),
    (_may_be_made, _not_made),
    (_carries, _no_labels),
    (_enough, _too_large),
    (_disk, _no_disk),
)
"""What a place must be, and what is said when none is; the price is looked at last."""


def why_unsuitable(place: Place, job: PendingJob) -> str:
    """Why one place could never hold the job, whoever else is there; "" if it could."""
    for accepts, refusal in CRITERIA:
        if not accepts(place, job):
            return refusal(job, [place]).reason
    if job.max_price is not None and (place.price is None if isinstance(place, Offer) else False):
        return _too_dear(job, [place]).reason
    if job.max_price is not None and (place.price or 0.0) > job.max_price:
        return _too_dear(job, [place]).reason
    return ""


def _nodes(job: PendingJob) -> str:
    flavor = f" of flavor {job.flavor}" if job.flavor else ""
    return f"The nodes{flavor}{_in_place(job)}{_at_site(job)}"


def _in_place(job: PendingJob) -> str:
    zone = f" in zone {job.zone}" if job.zone else ""
    if not job.region:
        return zone
    return f"{zone} of region {job.region}" if zone else f" in region {job.region}"


def _at_site(job: PendingJob) -> str:
    return f" at site {job.site}" if job.site else ""


def _listed(names: Collection[str]) -> str:
    """Names in order; of very many only some."""
    some = ", ".join(sorted(names)[:LISTED])
    return some if len(names) <= LISTED else f"{some} and {len(names) - LISTED} more"
