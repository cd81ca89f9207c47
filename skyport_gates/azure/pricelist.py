"""The price list that is shipped: what machines cost on a certain day, for when Azure is not asked.

The file holds on-demand prices in USD, in units of 0.00001 USD per hour, one row a size and one
column a region. :func:`export` makes it anew from what Azure says.
"""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import aiohttp

from . import prices
from .prices import Price, PriceTable

SHIPPED = Path(__file__).parent / "data" / "prices.json.gz"

_UNIT = 1e-5


def shipped(regions: Iterable[str], currency: str = "USD") -> dict[str, PriceTable]:
    """The shipped prices by region; of unknown regions and other currencies than USD, none.

    Blocks: reads a file.
    """
    document = json.loads(gzip.decompress(SHIPPED.read_bytes()))
    if currency != document["currency"]:
        return {}
    remark = f"list price of {document['date'][:7]}"
    wanted = set(regions)
    return {
        region: PriceTable(region, currency, _column(document["sizes"], column), remark)
        for column, region in enumerate(document["regions"])
        if region in wanted
    }


def shipped_regions() -> list[str]:
    """The regions of the shipped prices. Blocks: reads a file."""
    return list(json.loads(gzip.decompress(SHIPPED.read_bytes()))["regions"])


def _column(rows: Mapping[str, list[int]], column: int) -> Mapping[str, Price]:
    prices = {size: (round(row[column] * _UNIT, 5), None) for size, row in rows.items()}
    return MappingProxyType({size: price for size, price in prices.items() if price[0]})


def pack(tables: Iterable[PriceTable], date: str) -> bytes:
    """A price list as a file's content. The same prices give the same bytes.

    Parameters
    ----------
    tables
        One of each region, in USD.
    date
        The day of the prices, ``2026-06-18``.
    """
    columns = {table.region: table.prices for table in tables}
    regions = sorted(columns)
    sizes = sorted({size for column in columns.values() for size in column if _lasting(size)})
    document = {
        "date": date,
        "currency": "USD",
        "regions": regions,
        "sizes": {
            size: [round((columns[region].get(size, (0, 0))[0] or 0) / _UNIT) for region in regions]
            for size in sizes
        },
    }
    text = json.dumps(document, separators=(",", ":"))
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def _lasting(size: str) -> bool:
    """Whether a size is one that people still choose and that is not offered for a while only."""
    return size.startswith("standard_") and not size.endswith("_promo") and " " not in size


async def export(
    session: aiohttp.ClientSession, url: str, regions: Iterable[str], path: Path, date: str
) -> int:
    """Write a price list of what Azure says now; return how many prices it holds.

    Raises GateUnavailable, and writes nothing then.
    """
    tables = [await prices.fetch(session, url, region) for region in regions]
    content = await asyncio.to_thread(pack, tables, date)
    await asyncio.to_thread(path.write_bytes, content)
    return sum(len(table.prices) for table in tables)
