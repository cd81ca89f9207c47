"""Why a job waits or cannot run, in words for its user."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..model import Resources
from .inventory import Fit, Inventory, admits
from .plan import Impossible, NodeState, Offer, PendingJob

MENTIONED = 3
"""How many nodes a sentence names before it only counts the rest."""


def waiting_reason(job: PendingJob, fit: Fit, ahead: int, unknown_sites: Collection[str]) -> str:
    """Why a job that could run somewhere does not run now.

    Parameters
    ----------
    ahead : int
        Number of jobs that wait before this one.
    """
    usable, obstacles = _usable_and_obstacles(job, fit)
    if not usable:
        unknown = sorted(_unknown(job, unknown_sites))
        obstacles += [f"the nodes of site {site} are not known yet" for site in unknown]
        return f"Waiting for {_wish(job)}: {_some(obstacles)}"
    if ahead == 0:
        return f"Waiting for {_wish(job)}: running jobs use them"
    jobs = "1 job is" if ahead == 1 else f"{ahead} jobs are"
    return f"Waiting for {_wish(job)}: {jobs} ahead"


def impossible(
    job: PendingJob, fit: Fit, inventory: Inventory, unknown_sites: Collection[str]
) -> Impossible | None:
    """Why a job can never run, or None when it may some day."""
    if _unknown(job, unknown_sites):
        return None
    if fit.pools or fit.offers:
        return _all_excluded(job, fit)
    places = [*(pool.example for pool in inventory.pools), *inventory.offers]
    if not places:
        return Impossible(
            job.id, "There are no nodes to run jobs on.", "An admin must configure a site."
        )
    admitted = [place for place in places if admits(place, job)]
    if admitted:
        return _too_large(job, admitted)
    return _no_such_place(job, places)


def _all_excluded(job: PendingJob, fit: Fit) -> Impossible | None:
    keys = _keys(fit)
    failed = []
    for key in keys:
        if key not in job.excluded:
            return None
        failed.append(f"{key}: {job.excluded[key]}")
    return Impossible(
        job.id,
        f"The job failed on every node that could hold it. {'; '.join(failed)}",
        "Ask an admin to repair a node, or choose another site.",
    )


def _keys(fit: Fit) -> Iterator[str]:
    for pool in fit.pools:
        yield from (seat.key for seat in pool.seats)
    yield from (f"{offer.site}/{offer.flavor}" for offer in fit.offers)


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
        f"Ask for less: {_excess(job.need, largest.total)}.",
    )


def _excess(need: Resources, total: Resources) -> str:
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
    labels = ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items()))
    flavor = f" of flavor {job.flavor}" if job.flavor else ""
    return Impossible(
        job.id,
        f"No node{flavor}{where} carries the labels {labels}.",
        "Ask for other labels, or none.",
    )


def _usable_and_obstacles(job: PendingJob, fit: Fit) -> tuple[bool, list[str]]:
    """Whether a node is up that could hold the job, and why the others do not count."""
    obstacles = []
    for pool in fit.pools:
        for seat in pool.seats:
            if seat.key in job.excluded:
                obstacles.append(f"{seat.node.name} failed the job: {job.excluded[seat.key]}")
            elif seat.node.available:
                return True, []
            else:
                obstacles.append(f"{seat.node.name} is {seat.node.reason or 'not available'}")
    for offer in fit.offers:
        name = f"{offer.flavor} at site {offer.site}"
        obstacles.append(f"{name} is {offer.reason or 'not available'}")
    return False, obstacles


def _unknown(job: PendingJob, unknown_sites: Collection[str]) -> Collection[str]:
    if job.site is None:
        return unknown_sites
    return {job.site} & set(unknown_sites)


def _wish(job: PendingJob) -> str:
    text = str(job.need)
    if job.labels:
        labels = ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items()))
        text += f" on a node with {labels}"
    if job.flavor is not None:
        text += f" of flavor {job.flavor}"
    return f"{text} at site {job.site}" if job.site is not None else text


def _name(place: NodeState | Offer) -> str:
    return place.name if isinstance(place, NodeState) else place.flavor


def _some(obstacles: list[str]) -> str:
    more = len(obstacles) - MENTIONED
    if more <= 0:
        return "; ".join(obstacles)
    return "; ".join(obstacles[:MENTIONED]) + f"; and {more} more"
