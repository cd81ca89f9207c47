"""All places where a job could run, the best first, each with what speaks against it: no I/O."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .model import PartitionRecord
from .scheduling import Conditions, NodeState, Offer, Offers, PendingJob, Placement
from .scheduling.forecast import Forecast
from .scheduling.offers import best_first
from .scheduling.refusals import why_unsuitable
from .wire import OfferView

SHOWN = 100
"""Places that are listed."""

State = Literal["chosen", "free", "busy", "unavailable", "unsuitable"]
ORDER: tuple[State, ...] = ("chosen", "free", "busy", "unavailable", "unsuitable")


@dataclass(frozen=True)
class Listing:
    """What a list of places is made of.

    Attributes
    ----------
    nodes
        With what is free on them once the jobs ahead that can start have started.
    chosen, taken
        Where the plan puts the job, or which machine its owner keeps for it.
    currency
        Of the prices of a flavor at a site.
    """

    job: PendingJob
    walltime: int | None
    nodes: Sequence[NodeState]
    offers: Offers
    conditions: Conditions
    chosen: Placement | None
    taken: PartitionRecord | None
    forecast: Forecast | None
    currency: Callable[[str, str], str]
    now: dt.datetime


def list_places(listing: Listing) -> tuple[list[OfferView], int]:
    """The best places, and how many there are; nodes that are alike count as one."""
    nodes = list(_node_views(listing))
    total = len(nodes) + len(listing.offers)
    suitable = itertools.islice(_offer_views(listing), SHOWN)
    views = sorted([*nodes, *suitable], key=_rank)[:SHOWN]
    if len(views) < SHOWN:
        known = {(view.site, view.flavor, view.region, view.zone, view.spot) for view in views}
        others = (view for view in _unsuitable_views(listing) if _key(view) not in known)
        views += itertools.islice(others, SHOWN - len(views))
    return views, total


def _key(view: OfferView) -> tuple[str, str, str, str, bool]:
    return view.site, view.flavor, view.region, view.zone, view.spot


def _rank(view: OfferView) -> tuple[int, bool, float, dt.datetime]:
    never = dt.datetime.max.replace(tzinfo=dt.timezone.utc)
    made = view.node is None
    price = float("inf") if view.price is None and made else view.price or 0.0
    # As the policy prefers: what exists before what is made.
    return ORDER.index(view.state), made, price, view.start or never


def _node_views(listing: Listing) -> Iterator[OfferView]:
    """One view for all nodes of a kind that are in the same state, named after the first."""
    groups: dict[object, tuple[OfferView, int]] = {}
    for node in listing.nodes:
        state, reason = _node_state(listing, node)
        generic = reason.replace(node.name, "")
        key = (node.site, node.flavor, node.total, node.price, state, generic)
        view, count = groups.get(key, (None, 0))
        if view is None:
            view = _node_view(listing, node, state, reason)
        groups[key] = (view, count + 1)
    for view, count in groups.values():
        if count == 1:
            yield view
        else:
            more = f"and {count - 1} more like it"
            reason = f"{view.reason}; {more}" if view.reason else more
            yield view.model_copy(update={"reason": reason})


def _node_state(listing: Listing, node: NodeState) -> tuple[State, str]:
    job, chosen = listing.job, listing.chosen
    if chosen is not None and (chosen.site, chosen.node) == (node.site, node.name):
        return "chosen", ""
    unsuitable = why_unsuitable(node, job)
    if unsuitable:
        return "unsuitable", unsuitable
    if node.key in job.excluded:
        return "unavailable", job.excluded[node.key]
    if not node.available:
        return "unavailable", node.reason
    if job.need.fits_in(node.free):
        return "free", ""
    return "busy", f"Other jobs use {node.name}: {node.free} are free"


def _node_view(listing: Listing, node: NodeState, state: State, reason: str) -> OfferView:
    need, whole = listing.job.need, node.total
    parts = ((need.cpus, whole.cpus), (need.memory, whole.memory), (need.gpus, whole.gpus))
    share = min(1.0, max((part / all_ for part, all_ in parts if all_ > 0), default=1.0))
    start = listing.now if state in ("chosen", "free") else None
    if state == "busy" and listing.forecast is not None:
        start = listing.forecast.start_on(listing.job, node)
    return OfferView(
        site=node.site,
        flavor=node.flavor,
        node=node.name,
        state=state,
        reason=reason,
        start=start,
        cpus=whole.cpus,
        memory=whole.memory,
        gpus=whole.gpus,
        price=node.price,
        cost=_cost(listing, node.price, share),
        currency=listing.currency(node.site, node.flavor),
    )


def _offer_views(listing: Listing) -> Iterator[OfferView]:
    """The offers that could hold the job: first those that can be had now, the cheapest first."""
    job = listing.job
    troubled: list[tuple[Offer, str]] = []
    for offer in best_first(listing.offers.lines(job), job):
        reason = _trouble(listing, offer)
        if reason is None:
            yield _offer_view(listing, offer, "chosen" if _is_chosen(listing, offer) else "free")
        elif len(troubled) < SHOWN:
            troubled.append((offer, reason))
    for offer, reason in troubled:
        yield _offer_view(listing, offer, "unavailable", reason)


def _unsuitable_views(listing: Listing) -> Iterator[OfferView]:
    for offer in listing.offers:
        reason = why_unsuitable(offer, listing.job)
        if reason:
            yield _offer_view(listing, offer, "unsuitable", reason)


def _is_chosen(listing: Listing, offer: Offer) -> bool:
    taken = listing.taken
    if taken is not None:
        place = (taken.site, taken.flavor, taken.region, taken.zone, taken.spot)
        return place == (offer.site, offer.flavor, offer.region, offer.zone, offer.spot)
    return listing.chosen is not None and listing.chosen.offer == offer


def _trouble(listing: Listing, offer: Offer) -> str | None:
    """Why an offer cannot be used now; None if it can."""
    if offer.key in listing.job.excluded:
        return listing.job.excluded[offer.key]
    closed = listing.conditions.closed.get(offer.site)
    trouble = closed or listing.conditions.trouble(offer)
    return None if trouble is None else trouble.reason or "not available"


def _offer_view(listing: Listing, offer: Offer, state: State, reason: str = "") -> OfferView:
    return OfferView(
        site=offer.site,
        flavor=offer.flavor,
        region=offer.region,
        zone=offer.zone,
        spot=offer.spot,
        state=state,
        reason=reason,
        start=listing.now if state in ("chosen", "free") else None,
        delay=offer.delay,
        cpus=offer.total.cpus,
        memory=offer.total.memory,
        gpus=offer.total.gpus,
        price=offer.price,
        cost=_cost(listing, offer.price, 1.0),
        currency=listing.currency(offer.site, offer.flavor),
    )


def _cost(listing: Listing, price: float | None, share: float) -> float | None:
    if price is None or listing.walltime is None:
        return None
    return round(price * share * listing.job.nodes * listing.walltime / 3600, 6)
