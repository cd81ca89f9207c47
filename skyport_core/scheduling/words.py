"""Jobs and places in words."""

from __future__ import annotations

from .plan import NodeState, Offer, PendingJob


def name_of(place: NodeState | Offer) -> str:
    """A node's name, or the flavor of an offer."""
    return place.name if isinstance(place, NodeState) else place.flavor


def place_of(offer: Offer) -> str:
    """Where an offer is and of what kind: `` in westeurope, zone 1 (spot)``."""
    where = f" in {offer.region}" if offer.region else ""
    zone = f", zone {offer.zone}" if offer.zone else ""
    return f"{where}{zone}{' (spot)' if offer.spot else ''}"


def money(price: float) -> str:
    """A price per hour to at least three digits that count: ``0.0517``, ``12.50``."""
    digits = 2
    while digits < 6 and round(price, digits) != round(price, 6) and price < 10 ** (2 - digits):
        digits += 1
    return f"{price:.{digits}f}"


def wish(job: PendingJob) -> str:
    """What a job asks for."""
    text = str(job.need) if job.nodes == 1 else f"{job.nodes} nodes with {job.need} each"
    if job.storage is not None:
        text += f", {job.storage} GiB of disk"
    if job.labels:
        text += f" on a node with {labels_of(job)}"
    if job.flavor is not None:
        text += f" of flavor {job.flavor}"
    if job.spot:
        text += " on a spot node"
    if job.max_price is not None:
        text += f" for at most {money(job.max_price)} per hour"
    if job.zone is not None:
        text += f" in zone {job.zone}"
    if job.region is not None:
        text += f" of region {job.region}" if job.zone is not None else f" in region {job.region}"
    return f"{text} at site {job.site}" if job.site is not None else text


def labels_of(job: PendingJob) -> str:
    """The labels that a job asks for."""
    return ", ".join(f"{name}={value}" for name, value in sorted(job.labels.items()))
