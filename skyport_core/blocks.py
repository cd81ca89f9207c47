"""Offers that failed lately and are not used for a while."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import dataclass

from skyport_gates.gate import Scope

from .scheduling.offers import Trouble
from .scheduling.plan import Offer

EVERYTHING = Scope()
"""All offers of a site."""


@dataclass(frozen=True)
class Block:
    """Offers of a site that are not used ``until`` (monotonic seconds), and why."""

    scope: Scope
    until: float
    trouble: Trouble

    def covers(self, flavor: str, region: str, zone: str, spot: bool) -> bool:
        """Whether it speaks of this offer."""
        return self.speaks_of(region, zone, spot) and (
            self.scope.flavors is None or flavor in self.scope.flavors
        )

    def speaks_of(self, region: str, zone: str, spot: bool) -> bool:
        """Whether it speaks of offers there, of whatever flavor."""
        scope = self.scope
        return (
            scope.region in (None, region)
            and scope.zone in (None, zone)
            and scope.spot in (None, spot)
        )


class Blocks:
    """The blocks of all sites."""

    def __init__(self) -> None:
        self._blocks: dict[str, dict[Scope, Block]] = {}

    def add(self, site: str, scope: Scope, reason: str, seconds: float) -> None:
        """Block for ``seconds``; a later block of the same offers takes the place of an earlier."""
        at = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=seconds)
        block = Block(scope, time.monotonic() + seconds, Trouble(reason, at))
        self._blocks.setdefault(site, {})[scope] = block

    def find(self, site: str, flavor: str, region: str, zone: str, spot: bool) -> Block | None:
        """The block of an offer that lasts longest, or None."""
        covering = [block for block in self._live(site) if block.covers(flavor, region, zone, spot)]
        return max(covering, key=lambda block: block.until, default=None)

    def whole_site(self, site: str) -> Trouble | None:
        """What keeps all offers of a site from being used, or None."""
        block = self._blocks.get(site, {}).get(EVERYTHING)
        return block.trouble if block is not None and block.until > time.monotonic() else None

    def at(self, site: str) -> SiteBlocks:
        """What holds at a site at this moment, for a look at many offers."""
        return SiteBlocks(self._live(site))

    def _live(self, site: str) -> list[Block]:
        """The blocks of a site that have not expired; the others are forgotten."""
        now = time.monotonic()
        blocks = self._blocks.get(site, {})
        for scope in [scope for scope, block in blocks.items() if block.until <= now]:
            del blocks[scope]
        return list(blocks.values())


class SiteBlocks:
    """The blocks of one site at one moment, sorted by place for a fast look at many offers."""

    def __init__(self, blocks: list[Block]) -> None:
        self._blocks = sorted(blocks, key=lambda block: block.until)
        self._places: dict[tuple[str, str, bool], tuple[Trouble | None, dict[str, Trouble]]] = {}

    def trouble(self, offer: Offer) -> Trouble | None:
        """Why an offer is not used at present; None if it may be."""
        place = (offer.region, offer.zone, offer.spot)
        known = self._places.get(place)
        if known is None:
            known = self._places[place] = self._at(*place)
        everything, flavors = known
        return everything or flavors.get(offer.flavor)

    def _at(self, region: str, zone: str, spot: bool) -> tuple[Trouble | None, dict[str, Trouble]]:
        """The trouble of all flavors at a place, and that of some; the longest-lasting counts."""
        everything: Trouble | None = None
        flavors: dict[str, Trouble] = {}
        for block in self._blocks:
            if not block.speaks_of(region, zone, spot):
                continue
            if block.scope.flavors is None:
                everything = block.trouble
            else:
                flavors.update(dict.fromkeys(block.scope.flavors, block.trouble))
        return everything, flavors
