"""What can be had in Azure, at what price and within which limits, answered from memory.

Sizes, prices and limits of each region are read in the background and remembered in the gate's
store, so a restarted core has them at once, also while Azure does not answer. Old facts are kept
until new ones are there; trouble with one region does not touch the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

import aiohttp
from azure.mgmt.compute.aio import ComputeManagementClient

from ..gate import Flavor, GateStore, GateUnavailable, Image, QuotaUse
from ..timing import in_time
from . import archive, pricelist, prices, quota, skus
from .images import ImageBook
from .listing import read_list
from .offers import Market, Offers
from .prices import PriceTable
from .quota import Quotas
from .refresh import Refresher
from .settings import AzureSettings
from .skus import Size

SKUS_API = "2021-07-01"
USAGES_API = "2024-07-01"

QUOTA_INTERVAL = 300.0
"""Seconds between two looks at the limits of a region."""

QUOTA_LEAST = 5.0
"""Seconds between two such looks however many notes there are."""


class Catalog:
    """The catalog of one gate.

    Parameters
    ----------
    settings
        What is configured.
    compute
        Gives the SDK's client for computing.
    http
        For the prices, which need no credential.
    store
        Where facts are remembered: ``skus/REGION``, ``prices/REGION``, ``usages/REGION``.
    log
        Where trouble is told.
    patience
        Seconds that :meth:`start` waits for the first sizes ever.

    Raises
    ------
    ConfigurationError
        The images that are configured cannot be used.
    """

    def __init__(
        self,
        settings: AzureSettings,
        compute: Callable[[], ComputeManagementClient],
        http: aiohttp.ClientSession,
        store: GateStore,
        log: logging.Logger | logging.LoggerAdapter[Any],
        *,
        patience: float = 10.0,
    ) -> None:
        self._settings = settings
        self._compute = compute
        self._http = http
        self._store = store
        self._log = log
        self._patience = patience
        self._regions: tuple[str, ...] = tuple(dict.fromkeys(settings.regions))
        self.book = ImageBook(settings.boot_images, settings.default_image)
        self._offers = Offers(settings, self.book)
        self._sizes: dict[str, Mapping[str, Size]] = {}
        self._prices: dict[str, PriceTable] = {}
        self._shipped: dict[str, PriceTable] = {}
        self._quotas: dict[str, Quotas] = {}
        self._flavors: list[Flavor] = []
        self._uses: list[QuotaUse] = []
        self._families: Mapping[str, frozenset[str]] = {}
        self._refreshers: dict[str, Refresher] = {}
        self._building = asyncio.Lock()
        # One list of prices is a hundred requests to a slow server.
        self._pricing = asyncio.Lock()

    async def start(self) -> None:
        """Load what is remembered and begin to refresh it. Idempotent.

        Without anything remembered it waits for the sizes of the first region.

        Raises
        ------
        GateError
            Nothing is known, and Azure does not tell: NotAuthorized, GateUnavailable ….
        """
        if self._refreshers:
            return
        ages = await self._load()
        await self._build()
        for region in self._regions:
            self._begin(region, ages)
        if self._regions and not any(self._sizes.values()):
            await self._first_sizes(self._refreshers[f"skus/{self._regions[0]}"])

    async def close(self) -> None:
        """Stop refreshing. Idempotent."""
        refreshers, self._refreshers = self._refreshers, {}
        await asyncio.gather(*(refresher.close() for refresher in refreshers.values()))

    def flavors(self) -> list[Flavor]:
        """What is on offer. The same list until something changes; not to be changed."""
        return self._flavors

    def images(self) -> list[Image]:
        """The images on offer."""
        return self.book.listing()

    def quotas(self) -> list[QuotaUse]:
        """The general limits, and those of the families on offer."""
        return list(self._uses)

    def size(self, name: str, region: str) -> Size | None:
        """A size as a region has it, on offer or not; None if it is not known there."""
        return self._sizes.get(region.lower(), {}).get(name.lower())

    def family_sizes(self, family: str) -> frozenset[str]:
        """The sizes that share the limit of a family, by their names."""
        return self._families.get(family.lower(), frozenset())

    def note_quota(self, region: str = "") -> None:
        """Look at the limits of a region (all: "") soon.

        To be called when Azure refused a machine for a limit, or machines are gone.
        """
        for each in self._regions:
            refresher = self._refreshers.get(f"usages/{each}")
            if refresher is not None and region.lower() in ("", each):
                refresher.wake()

    async def _load(self) -> dict[str, float]:
        """Take what the store remembers; return the ages of its facts by key."""
        texts = {}
        for kind in ("skus", "prices", "usages"):
            texts.update(await self._store.items(f"{kind}/"))
        currency = str(self._settings.currency)
        times = await asyncio.to_thread(self._unpack, texts, currency)
        now = time.time()
        return {key: now - then for key, then in times.items()}

    def _unpack(self, texts: Mapping[str, str], currency: str) -> dict[str, float]:
        """Fill the memory from texts; in a thread, before anything else uses it."""
        times: dict[str, float] = {}
        self._shipped = pricelist.shipped(self._regions, currency)
        for region in self._regions:
            sizes = archive.unpack_sizes(texts.get(f"skus/{region}"), region)
            if sizes is not None:
                times[f"skus/{region}"], self._sizes[region] = sizes
            table = archive.unpack_prices(texts.get(f"prices/{region}"), region, currency)
            if table is not None:
                times[f"prices/{region}"], self._prices[region] = table
            quotas = archive.unpack_quotas(texts.get(f"usages/{region}"), region)
            if quotas is not None:
                times[f"usages/{region}"], self._quotas[region] = quotas
        return times

    def _begin(self, region: str, ages: Mapping[str, float]) -> None:
        interval = float(self._settings.catalog_interval)
        looks = {
            f"skus/{region}": (self._look_at_sizes, "sizes", interval),
            f"usages/{region}": (self._look_at_quotas, "limits", min(QUOTA_INTERVAL, interval)),
        }
        if self._settings.prices_url:
            looks[f"prices/{region}"] = (self._look_at_prices, "prices", interval)
        for key, (look, what, pause) in looks.items():
            refresher = Refresher(
                f"the {what} of {region}",
                _bind(look, region),
                self._log,
                interval=pause,
                least=QUOTA_LEAST,
            )
            refresher.start(ages.get(key, float("inf")))
            self._refreshers[key] = refresher

    async def _first_sizes(self, refresher: Refresher) -> None:
        region = self._regions[0]
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(refresher.looked(), self._patience)
        if self._sizes.get(region):
            return
        error = refresher.error or GateUnavailable(
            f"Azure did not tell the sizes of {region} within {self._patience:g} s.",
            hint="Check that the core's machine reaches the Resource Manager "
            f"({self._settings.arm_url}), then start the core again.",
        )
        await self.close()
        raise error

    async def _look_at_sizes(self, region: str) -> None:
        root = f"{self._settings.arm_url}/subscriptions/{self._settings.subscription}"
        sizes = await read_list(
            self._compute(),
            f"{root}/providers/Microsoft.Compute/skus",
            {"api-version": SKUS_API, "$filter": f"location eq '{region}'"},
            lambda rows: skus.parse_all(rows, region),
        )
        if not sizes:
            raise GateUnavailable(
                f"Azure knows no sizes of machines in {region!r}.",
                hint="Correct c.AzureGate.regions; `az account list-locations` has the names.",
            )
        self._sizes[region] = MappingProxyType(sizes)
        await self._build()
        text = await asyncio.to_thread(archive.pack_sizes, time.time(), sizes)
        await self._store.put(f"skus/{region}", text)

    async def _look_at_quotas(self, region: str) -> None:
        root = f"{self._settings.arm_url}/subscriptions/{self._settings.subscription}"
        quotas = await read_list(
            self._compute(),
            f"{root}/providers/Microsoft.Compute/locations/{region}/usages",
            {"api-version": USAGES_API},
            lambda rows: quota.parse(rows, region),
        )
        self._quotas[region] = quotas
        await self._build()
        await self._store.put(f"usages/{region}", archive.pack_quotas(time.time(), quotas))

    async def _look_at_prices(self, region: str) -> None:
        async with self._pricing:
            table = await prices.fetch(
                self._http, self._settings.prices_url, region, self._settings.currency
            )
        self._prices[region] = table
        await self._build()
        text = await asyncio.to_thread(archive.pack_prices, time.time(), table)
        await self._store.put(f"prices/{region}", text)

    async def _build(self) -> None:
        """Make the answers anew from what is known now; keep those that are the same."""
        async with self._building:
            markets = {region: self._market(region) for region in self._regions}
            known = self._flavors
            self._flavors, self._families, self._uses = await asyncio.to_thread(
                _answers, self._offers, markets, known
            )

    def _market(self, region: str) -> Market:
        table = self._prices.get(region) or self._shipped.get(region)
        return Market(
            region=region,
            sizes=self._sizes.get(region, {}),
            prices=table or PriceTable(region, str(self._settings.currency)),
            quotas=self._quotas.get(region) or Quotas(region),
        )


def _bind(look: Callable[[str], Any], region: str) -> Callable[[], Any]:
    return lambda: look(region)


def _answers(
    offers: Offers, markets: Mapping[str, Market], known: list[Flavor]
) -> tuple[list[Flavor], Mapping[str, frozenset[str]], list[QuotaUse]]:
    """Flavors (``known`` itself if nothing changed), sizes by family, and limits."""
    flavors = offers.flavors(markets)
    families: dict[str, set[str]] = {}
    for market in markets.values():
        for size in market.sizes.values():
            families.setdefault(size.family.lower(), set()).add(size.name)
    offered = {flavor.labels["family"] for flavor in flavors}
    uses = [use for market in markets.values() for use in market.quotas.uses(offered)]
    return known if flavors == known else flavors, _frozen(families.items()), uses


def _frozen(items: Iterable[tuple[str, set[str]]]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({key: frozenset(names) for key, names in items})
