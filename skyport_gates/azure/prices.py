"""What machines cost: Azure's public retail prices, read for one region at a time.

The protocol is that of https://learn.microsoft.com/rest/api/cost-management/retail-prices: pages
of JSON behind a filter, without authentication. A region has some thousands of meters; those of
Linux machines by the hour count, on demand and spot.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import email.utils
import json
import logging
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp

from ..gate import GateUnavailable
from ..timing import in_time

MAX_PAGES = 500
MAX_PAGE = 16 << 20
ATTEMPTS = 8

Price = tuple["float | None", "float | None"]
"""On demand and spot, per hour; None: none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PriceTable:
    """Prices of one region.

    Attributes
    ----------
    prices
        By the sizes' names in lower case.
    remark
        What to tell about them, such as that they are old; "" for nothing.
    """

    region: str
    currency: str = "USD"
    prices: Mapping[str, Price] = field(default_factory=lambda: MappingProxyType({}))
    remark: str = ""

    def of(self, size: str) -> Price:
        """The prices of a size by its name."""
        return self.prices.get(size.lower(), (None, None))


async def fetch(
    session: aiohttp.ClientSession,
    url: str,
    region: str,
    currency: str = "USD",
    *,
    deadline: float = 900.0,
    pause: float = 2.0,
) -> PriceTable:
    """Read the prices of a region.

    Parameters
    ----------
    url
        That of the API; further pages are taken from the same server only.
    deadline
        Seconds for all pages. There are up to a hundred, and the API is slow, so this is work for
        the background.
    pause
        Seconds before the second attempt at a page; doubled with each, unless the answer says how
        long to wait.

    Raises
    ------
    GateUnavailable
        The prices cannot be had now; nothing is kept of a list that broke off.
    """
    try:
        return await in_time(_fetch(session, url, region, currency, pause), deadline)
    except asyncio.TimeoutError:
        raise _unavailable(region, f"not all pages came within {deadline:g} s") from None


async def _fetch(
    session: aiohttp.ClientSession, url: str, region: str, currency: str, pause: float
) -> PriceTable:
    wanted = (
        "serviceName eq 'Virtual Machines' "
        f"and armRegionName eq '{region}' and priceType eq 'Consumption'"
    )
    page = f"{url}?$filter={quote(wanted)}"
    if currency != "USD":
        page += f"&currencyCode={quote(repr(currency))}"
    meters = Meters(region, currency)
    for _ in range(MAX_PAGES):
        document = await _read(session, page, region, pause)
        await asyncio.to_thread(meters.add, document.get("Items"))
        following = document.get("NextPageLink")
        if not following:
            break
        page = str(following)
        if _origin(page) != _origin(url):
            raise _unavailable(region, f"their next page is on another server: {page[:80]}")
    else:
        raise _unavailable(region, f"there are more than {MAX_PAGES} pages of them")
    table = meters.table()
    if not table.prices:
        raise _unavailable(region, "the list of them is empty")
    return table


async def _read(
    session: aiohttp.ClientSession, page: str, region: str, pause: float
) -> Mapping[str, Any]:
    """One page, by as many attempts as it takes."""
    for attempt in range(ATTEMPTS):
        wait = pause * 2**attempt * random.uniform(0.5, 1)  # noqa: S311 - spreads load only
        try:
            async with session.get(page, timeout=aiohttp.ClientTimeout(total=60)) as answer:
                if answer.status == 200:
                    return await _document(answer)
                if answer.status != 429 and answer.status < 500:
                    raise _unavailable(region, f"the server answers {answer.status}")
                trouble = f"the server answers {answer.status}"
                wait = _retry_after(answer.headers.get("Retry-After"), wait)
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError, ValueError) as error:
            trouble = f"{type(error).__name__}: {error}"
        _log.debug("Prices of %s: %s; next attempt in %.1f s", region, trouble, wait)
        if attempt + 1 < ATTEMPTS:
            await asyncio.sleep(wait)
    raise _unavailable(region, trouble)


async def _document(answer: aiohttp.ClientResponse) -> Mapping[str, Any]:
    body = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_PAGE:
            raise ValueError(f"a page of prices has more than {MAX_PAGE} bytes")
    document = await asyncio.to_thread(json.loads, body)
    if not isinstance(document, Mapping):
        raise ValueError("a page of prices is not a JSON object")
    return document


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Azure writes the usual port into the addresses of further pages."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _retry_after(text: str | None, default: float) -> float:
    """Seconds that ``Retry-After`` asks for, by number or date, and five minutes at most."""
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        try:
            until = email.utils.parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return default
        seconds = until.timestamp() - dt.datetime.now(dt.timezone.utc).timestamp()
    return min(max(seconds, 0.0), 300.0)


def _unavailable(region: str, why: str) -> GateUnavailable:
    return GateUnavailable(
        f"Azure's prices for {region} cannot be had now: {why}.",
        hint="Machines are offered without them, or with older ones; they are asked for again.",
    )


class Meters:
    """The meters of one region, of which the best one of each size makes its price.

    A size may have several meters: for its primary region and others, and for several dates.
    """

    def __init__(self, region: str, currency: str = "USD") -> None:
        self._region = region
        self._currency = currency
        self._best: dict[tuple[str, bool], tuple[tuple[bool, str, float], float]] = {}

    def add(self, items: object) -> None:
        """Take the items of a page; what makes no sense or is no such machine is left out."""
        if not isinstance(items, Iterable):
            return
        now = dt.datetime.now(dt.timezone.utc).isoformat()
        for item in items:
            if isinstance(item, Mapping):
                self._add(item, now)

    def _add(self, item: Mapping[str, Any], now: str) -> None:
        size, price = str(item.get("armSkuName") or "").strip(), item.get("retailPrice")
        if not size or not isinstance(price, (int, float)) or not 0 < price < 1e6:
            return
        names = f"{item.get('skuName')} {item.get('meterName')} {item.get('productName')}".lower()
        since = str(item.get("effectiveStartDate") or "")
        if (
            str(item.get("type") or "Consumption") != "Consumption"
            or str(item.get("armRegionName") or self._region).lower() != self._region
            or item.get("tierMinimumUnits")
            or str(item.get("unitOfMeasure") or "1 Hour") != "1 Hour"
            or str(item.get("currencyCode") or self._currency) != self._currency
            or since > now
            or any(word in names for word in _OTHERS)
        ):
            return
        key = (size.lower(), "spot" in names)
        # Of equals the dearer one: better to promise too little than too much.
        rank = (bool(item.get("isPrimaryMeterRegion")), since, float(price))
        if key not in self._best or rank > self._best[key][0]:
            self._best[key] = (rank, float(price))

    def table(self) -> PriceTable:
        """The prices so far."""
        prices: dict[str, Price] = {}
        for (size, spot), (_, price) in self._best.items():
            regular, cheap = prices.get(size, (None, None))
            prices[size] = (regular, price) if spot else (price, cheap)
        return PriceTable(self._region, self._currency, MappingProxyType(prices))


_OTHERS = (
    "windows",
    "low priority",
    "cloud services",
    "cloudservices",
    "dedicated",
    "expired",
)
"""Words in the names of meters that are not those of Linux machines as they are made here."""
