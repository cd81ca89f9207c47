"""The machines that the options form lists, from what the sites offer now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from skyport_core.wire import FlavorView

from .options import Limits, UserOptions

Number = TypeVar("Number", int, float)

SYMBOLS = {"USD": "$", "EUR": "€", "GBP": "£", "JPY": "¥"}


@dataclass(frozen=True)
class Region:
    """Where a machine can be had: prices per hour, None when there is none or it is not known."""

    name: str
    price: float | None = None
    spot_price: float | None = None
    spot: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Machine:
    """A line of the list of machines; ``value`` is what the form sends.

    ``cpus``, ``memory`` (GiB) and ``gpus`` are the most that can be asked for on it; None: no
    limit is known. ``regions`` are those it can be had in, the cheapest first.
    """

    value: str
    label: str
    description: str = ""
    cpus: float | None = None
    memory: float | None = None
    gpus: int | None = None
    regions: tuple[Region, ...] = ()
    symbol: str = "$"
    keep: bool = False

    @property
    def spot(self) -> bool:
        """Whether it can be had as a spot machine."""
        return any(region.spot for region in self.regions)


def machines_by_site(flavors: Iterable[FlavorView], limits: Limits) -> dict[str, list[Machine]]:
    """The machines of each site that the limits allow, cheap and small ones first."""
    offered = sorted(
        (flavor for flavor in flavors if allowed(flavor, limits)),
        key=lambda flavor: (flavor.site, flavor.price or 0.0, flavor.cpus),
    )
    return {
        site: _machines(site, list(group), limits)
        for site, group in groupby(offered, key=lambda flavor: flavor.site)
    }


def anywhere(flavors: Iterable[FlavorView], limits: Limits) -> Machine:
    """The choice to leave all to the core."""
    return _bounded("", "Any machine that fits", list(flavors), limits)


def allowed(flavor: FlavorView, limits: Limits) -> bool:
    """Whether a user may have it: by site, name and price."""
    if not limits.allows_site(flavor.site):
        return False
    if not limits.allows_flavor(flavor.site, flavor.name):
        return False
    prices = [flavor.price, flavor.spot_price if limits.spot else None]
    cheapest = min((price for price in prices if price is not None), default=0.0)
    return limits.price is None or cheapest <= limits.price


def selected(chosen: UserOptions, sites: Mapping[str, Sequence[Machine]]) -> str:
    """The machine of the last choice, as far as it is still offered."""
    values = [machine.value for machines in sites.values() for machine in machines]
    if chosen.site is None and chosen.flavor is not None:
        return next((value for value in values if value.endswith(f"/{chosen.flavor}")), "")
    value = f"{chosen.site}/{chosen.flavor or ''}" if chosen.site else ""
    return value if value in values else ""


def _machines(site: str, rows: list[FlavorView], limits: Limits) -> list[Machine]:
    by_name: dict[str, list[FlavorView]] = {}
    for row in rows:
        by_name.setdefault(row.name, []).append(row)
    machines = [_machine(site, same, limits) for same in by_name.values()]
    if limits.flavors:
        return machines
    return [_bounded(f"{site}/", f"Any machine of {site}", rows, limits), *machines]


def _machine(site: str, rows: list[FlavorView], limits: Limits) -> Machine:
    """One line for a flavor; ``rows`` are its regions, the cheapest first."""
    flavor = rows[0]
    regions = tuple(_region(row, limits) for row in rows if row.region)
    parts = (flavor.description.rstrip("."), _spot(rows, limits), _free(rows))
    return Machine(
        f"{site}/{flavor.name}",
        f"{flavor.name}: {_contents(rows)}",
        ". ".join(part for part in parts if part),
        least(flavor.cpus, limits.cpus),
        gib(least(flavor.memory, limits.memory)),
        least(flavor.gpus, limits.gpus),
        regions,
        _symbol(flavor),
        flavor.suspendable and limits.keep,
    )


def _region(row: FlavorView, limits: Limits) -> Region:
    spot = row.spot and limits.spot
    return Region(row.region, row.price, row.spot_price if spot else None, spot, row.reason)


def _bounded(value: str, label: str, flavors: list[FlavorView], limits: Limits) -> Machine:
    return Machine(
        value,
        label,
        "The core chooses: an existing machine before a new one, the cheapest that fits.",
        least(max((flavor.cpus for flavor in flavors), default=None), limits.cpus),
        gib(least(max((flavor.memory for flavor in flavors), default=None), limits.memory)),
        least(max((flavor.gpus for flavor in flavors), default=None), limits.gpus),
        keep=limits.keep and any(flavor.suspendable for flavor in flavors),
    )


def _contents(rows: list[FlavorView]) -> str:
    flavor = rows[0]
    parts = [f"{flavor.cpus:g} CPUs", f"{gib(flavor.memory):g} GiB"]
    if flavor.gpus:
        parts.append(f"{flavor.gpus} x {flavor.gpu_type or 'GPU'}")
    prices = {row.price for row in rows if row.price is not None}
    if prices:
        start = "from " if len(prices) > 1 else ""
        parts.append(f"{start}{_symbol(flavor)}{min(prices):.4g} per hour")
    return ", ".join(parts)


def _spot(rows: list[FlavorView], limits: Limits) -> str:
    prices = [row.spot_price for row in rows if row.spot and row.spot_price is not None]
    if not prices or not limits.spot:
        return ""
    return f"As a spot machine from {_symbol(rows[0])}{min(prices):.4g} per hour"


def _free(rows: list[FlavorView]) -> str:
    """What one server could get at once, in words."""
    flavor = rows[0]
    if flavor.free_cpus is not None and flavor.free_memory is not None:
        if flavor.free_cpus <= 0 or flavor.free_memory <= 0:
            return "All in use now: a server waits for its turn"
        text = (
            f"Free now for one server: {flavor.free_cpus:g} CPUs, {gib(flavor.free_memory):g} GiB"
        )
        return f"{text}, {flavor.free_gpus} GPUs" if flavor.gpus else text
    if flavor.available_nodes is not None and flavor.capacity is not None:
        return f"{flavor.available_nodes} of {flavor.capacity} machines can be had now"
    if not any(row.available for row in rows):
        return f"Cannot be made now: {flavor.reason}" if flavor.reason else "Cannot be made now"
    return "Made when asked for"


def _symbol(flavor: FlavorView) -> str:
    return SYMBOLS.get(flavor.currency, f"{flavor.currency} ")


def gib(memory: float | None) -> float | None:
    """MiB as GiB, for people."""
    return None if memory is None else round(memory / 1024, 2)


def least(value: Number | None, limit: Number | None) -> Number | None:
    """The smaller of two, None being no limit."""
    if value is None or limit is None:
        return limit if value is None else value
    return min(value, limit)
