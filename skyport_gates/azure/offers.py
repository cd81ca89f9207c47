"""From what is known of the regions to the flavors on offer. Pure: no I/O."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ..gate import Flavor, Terms
from .images import ImageBook
from .prices import PriceTable
from .quota import Quotas
from .settings import AzureSettings
from .skus import Size

_DELAYS = {"none": 60.0, "jupyter": 150.0, "container": 150.0}
"""Seconds until a machine can be used, by its bootstrap, as usual in Azure."""


@dataclass(frozen=True)
class Market:
    """What is known of one region: sizes by their names in lower case, prices and limits."""

    region: str
    sizes: Mapping[str, Size]
    prices: PriceTable
    quotas: Quotas


class Offers:
    """Which sizes are offered, and how.

    Parameters
    ----------
    settings
        Their traits of this moment are taken over.
    images
        What can be booted; sizes for which there is nothing are not offered.
    """

    def __init__(self, settings: AzureSettings, images: ImageBook) -> None:
        self._regions = tuple(dict.fromkeys(settings.regions))
        self._wanted = _matcher(settings.sizes)
        self._unwanted = _matcher(settings.exclude_sizes)
        self._spot = bool(settings.offer_spot)
        self._zones = bool(settings.use_zones)
        self._suspendable = settings.disk != "ephemeral"
        self._disk = int(settings.disk_size)
        self._trusted = bool(settings.trusted_launch)
        self._currency = str(settings.currency)
        self._delay = _DELAYS.get(settings.bootstrap, 60.0)
        self._images = images

    def flavors(self, markets: Mapping[str, Market]) -> list[Flavor]:
        """The flavors, small ones first, their terms in the order of the regions."""
        found: dict[str, list[tuple[Size, Market]]] = {}
        for region in self._regions:
            market = markets.get(region)
            for name, size in market.sizes.items() if market else ():
                if market is not None and self.offered(size):
                    found.setdefault(name, []).append((size, market))
        flavors = [self._flavor(places) for places in found.values()]
        return sorted(flavors, key=lambda f: (f.gpus, f.cpus, f.memory, f.name))

    def offered(self, size: Size) -> bool:
        """Whether a size is offered in its region at all."""
        return (
            not size.restriction
            and not size.confidential
            and bool(self._wanted(size.name))
            and not self._unwanted(size.name)
            and self._images.boots(size)
            and (self._suspendable or self._has_room(size))
        )

    def _has_room(self, size: Size) -> bool:
        """Whether the system disk fits on the host, also if the image allows trusted launch."""
        trusted = self._trusted and size.trusted_launch
        return size.ephemeral_placement(self._disk, trusted_launch=trusted) is not None

    def _flavor(self, places: list[tuple[Size, Market]]) -> Flavor:
        size = places[0][0]
        terms = tuple(each for place in places for each in self._terms(*place))
        prices = [each.price for each in terms if each.price is not None and not each.spot]
        remarks = {market.prices.remark for place, market in places if _priced(market, place)}
        labels = {"family": size.family, "arch": size.architecture}
        if size.gpu_type:
            labels["gpu"] = size.gpu_type
        return Flavor(
            name=size.name,
            cpus=size.cpus,
            memory=size.memory,
            gpus=size.gpus,
            gpu_type=size.gpu_type,
            storage=size.temporary,
            price=min(prices, default=None),
            labels=MappingProxyType(labels),
            description="; ".join(filter(None, (_series(size), *sorted(remarks)))),
            currency=self._currency,
            terms=terms,
            suspendable=self._suspendable,
        )

    def _terms(self, size: Size, market: Market) -> Iterable[Terms]:
        regular, cheap = market.prices.of(size.name)
        zones = size.zones if self._zones else ()
        for spot, price in ((False, regular), (True, cheap)):
            if spot and not (self._spot and size.spot):
                continue
            reason = market.quotas.lack(size, spot=spot)
            yield Terms(market.region, zones, spot, price, self._delay, reason)


def _priced(market: Market, size: Size) -> bool:
    return market.prices.of(size.name) != (None, None)


def _series(size: Size) -> str:
    """The family in few words: ``standardDSv5Family`` is the DSv5 series."""
    name = re.sub(r"^standard\s*|\s*family$", "", size.family, flags=re.IGNORECASE)
    return f"{name} series" if name else ""


def _matcher(patterns: Iterable[str]) -> Callable[[str], object]:
    """Whether a name matches one of some patterns, in any case."""
    whole = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    return re.compile(whole or r"(?!)", re.IGNORECASE).match
