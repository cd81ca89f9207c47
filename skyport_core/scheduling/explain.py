"""Why a job waits or cannot run, in words for its user."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model import Resources
from .inventory import Fit, Inventory, admits
from .plan import Impossible, NodeState, Offer, PendingJob

MENTIONED = 3
"""How many nodes a sentence names before it only counts the rest."""


class Explainer:
    """Tells what to say about the jobs that one plan did not place.

    Parameters
    ----------
    inventory : Inventory
        What there is.
    unknown_sites : collection of str
        Sites of which it is not known yet what they have.
    """

    def __init__(self, inventory: Inventory, unknown_sites: Collection[str]) -> None:
        self._places: list[NodeState | Offer] = [
            *(pool.example for pool in inventory.pools),
            *inventory.offers,
        ]
        self._unknown_sites = sorted(unknown_sites)
        # Thousands of jobs may wait for the same thousand nodes to come up.
        self._troubles: dict[int, str] = {}

    def waiting(self, job: PendingJob, fit: Fit, *, ahead: int) -> str:
        """Why a job that may run some day does not run now; ``ahead`` jobs wait before it."""
        wish = f"Waiting for {_wish(job)}"
        trouble = self._trouble(job, fit)
        if trouble:
            return f"{wish}: {trouble}"
        if ahead == 0:
            return f"{wish}: running jobs use them"
        return f"{wish}: {'1 job is' if ahead == 1 else f'{ahead} jobs are'} ahead"

    def impossible(self, job: PendingJob, fit: Fit) -> Impossible | None:
        """Why a job can never run, or None when it may run some day."""
        if self._unknown(job):
            return None
        if fit.pools or fit.offers:
            return _all_excluded(job, fit)
        if not self._places:
            return Impossible(
                job.id, "There are no nodes to run jobs on.", "An admin must configure a site."
            )
        admitted = [place for place in self._places if admits(place, job)]
        if admitted:
            return _too_large(job, admitted)
        return _no_such_place(job, self._places)

    def _unknown(self, job: PendingJob) -> list[str]:
        return [site for site in self._unknown_sites if job.site in (None, site)]

    def _trouble(self, job: PendingJob, fit: Fit) -> str:
        """What keeps every place from being used, whoever is ahead; "" if one is up."""
        if job.excluded:
            return self._find_trouble(job, fit)
        known = self._troubles.get(id(fit))
        if known is None:
            known = self._troubles[id(fit)] = self._find_trouble(job, fit)
        return known

    def _find_trouble(self, job: PendingJob, fit: Fit) -> str:
        troubles = []
        for pool in fit.pools:
            for seat in pool.seats:
                if seat.key in job.excluded:
                    troubles.append(f"{seat.node.name} failed the job: {job.excluded[seat.key]}")
                elif seat.node.available:
                    return ""
                else:
                    troubles.append(seat.node.reason or f"{seat.node.name} is not available")
        troubles += [_offer_trouble(job, offer) for offer in fit.offers]
        unknown = self._unknown(job)
        troubles += [f"the nodes of site {site} are not known yet" for site in unknown]
        return _some(troubles)


def _offer_trouble(job: PendingJob, offer: Offer) -> str:
    name = f"{offer.flavor} at site {offer.site}"
    if offer.key in job.excluded:
        return f"{name} failed the job: {job.excluded[offer.key]}"
    text = f"{name} is not available now"
    return f"{text}: {offer.reason}" if offer.reason else text


def _all_excluded(job: PendingJob, fit: Fit) -> Impossible | None:
    failed = []
    for key in _keys(fit):
        if key not in job.excluded:
            return None
        failed.append(f"{key}: {job.excluded[key]}")
    return Impossible(
        job.id,
        f"The job failed on every node that could hold it. {'; '.join(failed)}",
        "Ask an admin to repair a node, or ask for another one.",
    )


def _keys(fit: Fit) -> Iterator[str]:
    for pool in fit.pools:
        yield from (seat.key for seat in pool.seats)
    yield from (offer.key for offer in fit.offers)


def _too_large(job: PendingJob, admitted: list[NodeState | Offer]) -> Impossible:
    def size(place: NodeState | Offer) -> tuple[float, ...]:
        total = place.total
        gpus = total.gpus if job.need.gpus else 0
        return gpus, total.cpus, total.memory

    largest = max(admitted, key=lambda place: (size(place), place.site, _name(place)))
    return Impossible(
        job.id,
        f"No node can hold {_wish(job)}: the largest is {_name(largest)} at site {largest.site}"
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


def _no_such_place(job: PendingJob, places: list[NodeState | Offer]) -> Impossible:
    sites = sorted({place.site for place in places})
    if job.site is not None and job.site not in sites:
        return Impossible(
            job.id,
            f"Site {job.site!r} has no nodes.",
            f"Choose one of the sites {', '.join(sites)}.",
        )
    where = f" at site {job.site}" if job.site else ""
    flavors = sorted({place.flavor for place in places if job.site in (None, place.site)})
    if job.flavor is not None and job.flavor not in flavors:
        return Impossible(
            job.id,
            f"There is no flavor {job.flavor!r}{where}.",
            f"Choose one of the flavors {', '.join(flavors)}.",
        )
    flavor = f" of flavor {job.flavor}" if job.flavor else ""
    return Impossible(
        job.id,
        f"No node{flavor}{where} carries the labels {_labels(job)}.",
        "Ask for other labels, or none.",
    )


def _wish(job: PendingJob) -> str:
    text = str(job.need)
    if job.labels:
        text += f" on a node with {_labels(job)}"
    if job.flavor is not None:
        text += f" of flavor {job.flavor}"
    return f"{text} at site {job.site}" if job.site is not None else text


def _labels(job: PendingJob) -> str:
    return ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items()))


def _name(place: NodeState | Offer) -> str:
    return place.name if isinstance(place, NodeState) else place.flavor


def _some(troubles: list[str]) -> str:
    more = len(troubles) - MENTIONED
    if more <= 0:
        return "; ".join(troubles)
    return "; ".join(troubles[:MENTIONED]) + f"; and {more} more"
