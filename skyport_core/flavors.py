"""The flavors of all sites as rows that can be searched: worked out once, asked often."""

from __future__ import annotations

import base64
import binascii
import bisect
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from skyport_gates.gate import Flavor, Terms

from .offering import SiteSnapshot
from .scheduling import Conditions, Offer
from .wire import FlavorQuery, FlavorView

Key = tuple[bool, "float | str", str, str, str]
"""Unknown or not, value, site, name, region: the place of a row in an order."""

T = TypeVar("T")
K = TypeVar("K")

UNKNOWN = float("inf")
"""A price that is not known, dearer than any."""

SORTS = ("price", "spot_price", "name", "cpus", "memory")
"""The orders that can be asked for; equal rows lie by site, name and region."""


class BadCursor(ValueError):
    """``after`` of a query is not the ``next`` of an answer to the same query."""


@dataclass(frozen=True, slots=True)
class Row:
    """A flavor at a site in one region of it, and the offers that stand behind it."""

    view: FlavorView
    offers: tuple[Offer, ...]
    price: float
    """Per hour and infinite when it is not known, but 0 at a site that does not bill."""
    spot_price: float
    regular: bool
    """Whether it can be had otherwise than as spot node."""

    def place(self, sort: str) -> Key:
        """Its place in an order."""
        view = self.view
        value: float | str
        if sort == "name":
            value = view.name
        elif sort == "price":
            value = self.price
        elif sort == "spot_price":
            value = self.spot_price if view.spot else UNKNOWN
        else:
            value = view.cpus if sort == "cpus" else float(view.memory)
        unknown = value == UNKNOWN
        return unknown, 0.0 if unknown else value, view.site, view.name, view.region


class FlavorTable:
    """All flavors of all sites, immutable, in every order that can be asked for.

    Parameters
    ----------
    sites : iterable of SiteSnapshot
        As last seen.
    """

    def __init__(self, sites: Iterable[SiteSnapshot]) -> None:
        rows = [row for site in sites for row in _rows(site)]
        self._orders = {sort: sorted(rows, key=_by(sort)) for sort in SORTS}

    def page(
        self, query: FlavorQuery, conditions: Conditions, usable: Callable[[Row], bool]
    ) -> tuple[list[Row], int, str | None]:
        """The rows of one page, how many rows match in all, and the cursor of the page after.

        The cursor is the place of the page's last row in the order, so pages fit together also
        when rows come and go in between.

        Parameters
        ----------
        usable
            Whether the fixed nodes of a row can take jobs.
        """
        found: Sequence[Row] = [row for row in self._orders[query.sort] if _matches(row, query)]
        if query.available is not None:
            found = [
                row for row in found if (not reason_of(row, conditions, usable)) is query.available
            ]
        start = 0
        if query.after is not None:
            last = _decoded(query.after, query.sort)
            start = bisect.bisect_right(found, last, key=_by(query.sort))
        rows = found[start : start + query.limit]
        more = start + len(rows) < len(found)
        return list(rows), len(found), _encoded(rows[-1], query.sort) if more else None


def reason_of(row: Row, conditions: Conditions, usable: Callable[[Row], bool]) -> str:
    """Why nothing of a row can be had now; "" if something can."""
    if not row.offers:
        return "" if usable(row) else "all its nodes are down or drained"
    closed = conditions.closed.get(row.view.site)
    if closed is not None:
        return closed.reason
    first = None
    for offer in row.offers:
        trouble = conditions.trouble(offer)
        if trouble is None:
            return ""
        first = first or trouble
    return (first.reason if first else "") or "not available"


def _rows(site: SiteSnapshot) -> Iterator[Row]:
    billed = any(offer.price is not None for offer in site.offers)
    offers = _grouped(site.offers, lambda offer: (offer.flavor, offer.region))
    for flavor in site.flavors:
        labels = dict(flavor.labels)
        terms = flavor.terms or (Terms(price=flavor.price),)
        for region, here in _grouped(terms, lambda each: each.region).items():
            behind = tuple(offers.get((flavor.name, region), ()))
            yield _row(site, flavor, labels, region, here, behind, billed)


def _row(
    site: SiteSnapshot,
    flavor: Flavor,
    labels: dict[str, str],
    region: str,
    terms: Sequence[Terms],
    offers: tuple[Offer, ...],
    billed: bool,
) -> Row:
    spot = [each for each in terms if each.spot]
    regular = [each for each in terms if not each.spot]
    price, spot_price = _lowest(regular), _lowest(spot)
    # From plain data of the gate: nothing to check, and there may be ten thousand of them.
    view = FlavorView.model_construct(
        site=site.name,
        name=flavor.name,
        description=flavor.description,
        cpus=flavor.cpus,
        memory=flavor.memory,
        gpus=flavor.gpus,
        gpu_type=flavor.gpu_type,
        storage=flavor.storage,
        labels=labels,
        region=region,
        zones=list(dict.fromkeys(zone for each in terms for zone in each.zones)),
        price=price,
        spot=bool(spot),
        spot_price=spot_price,
        currency=flavor.currency,
        suspendable=any(offer.suspendable for offer in offers),
        capacity=flavor.capacity,
        available_nodes=None,
        free_cpus=None,
        free_memory=None,
        free_gpus=None,
        available=True,
        reason="",
    )
    otherwise = UNKNOWN if billed else 0.0
    price_or = otherwise if price is None else price
    spot_or = otherwise if spot_price is None else spot_price
    return Row(
        view,
        offers,
        price_or,
        spot_or,
        bool(regular),
    )


def _lowest(terms: Iterable[Terms]) -> float | None:
    return min((each.price for each in terms if each.price is not None), default=None)


def _matches(row: Row, query: FlavorQuery) -> bool:
    view = row.view
    price = row.spot_price if query.spot else row.price
    return (
        query.site in (None, view.site)
        and query.region in (None, view.region)
        and (query.min_cpus is None or view.cpus >= query.min_cpus)
        and (query.min_memory is None or view.memory >= query.min_memory)
        and (query.min_gpus is None or view.gpus >= query.min_gpus)
        and (query.max_price is None or price <= query.max_price)
        and (query.spot is None or (view.spot if query.spot else row.regular))
        and (query.name is None or query.name.casefold() in view.name.casefold())
        and (query.gpu_type is None or query.gpu_type.casefold() in view.gpu_type.casefold())
    )


def _by(sort: str) -> Callable[[Row], Key]:
    return lambda row: row.place(sort)


def _encoded(row: Row, sort: str) -> str:
    text = json.dumps([sort, *row.place(sort)], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(cursor: str, sort: str) -> Key:
    """The place that a cursor names. Raises BadCursor."""
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        parts = json.loads(base64.urlsafe_b64decode(padded.encode()))
        given, unknown, value, site, name, region = parts
        key = (bool(unknown), _value(value, sort), str(site), str(name), str(region))
    except (binascii.Error, ValueError, TypeError) as error:
        raise BadCursor(cursor) from error
    if given != sort:
        raise BadCursor(cursor)
    return key


def _value(value: object, sort: str) -> float | str:
    if isinstance(value, str) is not (sort == "name") or not isinstance(value, (str, int, float)):
        raise TypeError(f"{value!r} has no place in the order by {sort}")
    return value


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups
