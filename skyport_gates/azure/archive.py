"""What the catalog remembers between runs, as texts for the gate's store. Pure: no I/O.

Each text carries the time of its facts (seconds since the epoch). What cannot be read, such as a
text of another version, counts as not there.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from .prices import PriceTable
from .quota import Limit, Quotas
from .skus import Size

_SIZE = [field.name for field in dataclasses.fields(Size) if field.name != "region"]
_LISTS = {"generations", "zones", "placements", "controllers"}
_LIMIT = [field.name for field in dataclasses.fields(Limit)]


def pack_sizes(time: float, sizes: Mapping[str, Size]) -> str:
    """The sizes of a region as a text."""
    rows = [[getattr(size, name) for name in _SIZE] for size in sizes.values()]
    return _dump({"time": time, "fields": _SIZE, "rows": rows})


def unpack_sizes(text: str | None, region: str) -> tuple[float, dict[str, Size]] | None:
    """Time and sizes of a text."""
    document = _load(text, _SIZE)
    if document is None:
        return None
    lists = [name in _LISTS for name in _SIZE]
    try:
        sizes = [Size(**_named(row, lists), region=region) for row in document["rows"]]
    except (TypeError, ValueError):
        return None
    return document["time"], {size.name.lower(): size for size in sizes}


def _named(row: list[Any], lists: list[bool]) -> dict[str, Any]:
    return {
        name: tuple(value) if is_list else value
        for name, value, is_list in zip(_SIZE, row, lists, strict=True)
    }


def pack_prices(time: float, table: PriceTable) -> str:
    """The prices of a region as a text."""
    fields = ["regular", "spot", table.currency]
    return _dump({"time": time, "fields": fields, "rows": dict(table.prices)})


def unpack_prices(text: str | None, region: str, currency: str) -> tuple[float, PriceTable] | None:
    """Time and prices of a text; None too if they are in another currency."""
    document = _load(text, ["regular", "spot", currency])
    if document is None:
        return None
    try:
        prices = {size: (regular, spot) for size, (regular, spot) in document["rows"].items()}
    except (AttributeError, TypeError, ValueError):
        return None
    return document["time"], PriceTable(region, currency, MappingProxyType(prices))


def pack_quotas(time: float, quotas: Quotas) -> str:
    """The limits of a region as a text."""
    rows = [[getattr(limit, name) for name in _LIMIT] for limit in quotas.limits.values()]
    return _dump({"time": time, "fields": _LIMIT, "rows": rows})


def unpack_quotas(text: str | None, region: str) -> tuple[float, Quotas] | None:
    """Time and limits of a text."""
    document = _load(text, _LIMIT)
    if document is None:
        return None
    try:
        limits = [Limit(**dict(zip(_LIMIT, row, strict=True))) for row in document["rows"]]
    except (TypeError, ValueError):
        return None
    by_name = {limit.name.lower(): limit for limit in limits}
    return document["time"], Quotas(region, MappingProxyType(by_name))


def _dump(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def _load(text: str | None, fields: list[str]) -> dict[str, Any] | None:
    try:
        document = json.loads(text or "null")
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("fields") != fields:
        return None
    return document if isinstance(document.get("time"), (int, float)) else None
