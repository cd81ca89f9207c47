"""What a site has, and the offers that follow from its flavors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from skyport_gates.gate import Flavor, Image, Node, Terms

from .model import Resources
from .scheduling import Offer


@dataclass(frozen=True)
class SiteSnapshot:
    """What one site had to offer when it was last asked.

    ``nodes`` is None for a site that makes its nodes on demand, and ``offers`` are what it would
    make; ``known`` is False until the gate has answered once, and ``images`` is None until it has
    listed them once.
    """

    name: str
    flavors: tuple[Flavor, ...] = ()
    nodes: tuple[Node, ...] | None = None
    offers: tuple[Offer, ...] = field(default=(), compare=False, repr=False)
    images: tuple[Image, ...] | None = None
    known: bool = False
    available: bool = False
    reason: str = "not asked yet"


def offers_of(site: str, flavors: Iterable[Flavor], *, can_sleep: bool) -> tuple[Offer, ...]:
    """One offer for each flavor, terms and zone, in the site's own order.

    Parameters
    ----------
    can_sleep : bool
        Whether the site's gate has the power to suspend.
    """
    return tuple(
        offer
        for flavor in flavors
        for offer in _offers(site, flavor, flavor.suspendable & can_sleep)
    )


def _offers(site: str, flavor: Flavor, suspendable: bool) -> Iterator[Offer]:
    total = Resources(flavor.cpus, flavor.memory, flavor.gpus)
    for terms in flavor.terms or (Terms(price=flavor.price),):
        for zone in terms.zones or ("",):
            yield Offer(
                site=site,
                flavor=flavor.name,
                total=total,
                price=terms.price,
                available=not terms.reason,
                reason=terms.reason,
                labels=flavor.labels,
                gpu_type=flavor.gpu_type,
                region=terms.region,
                zone=zone,
                spot=terms.spot,
                suspendable=suspendable,
                storage=flavor.storage,
                delay=terms.delay,
            )
