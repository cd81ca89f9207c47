"""Limits of the subscription, and which sizes they leave no room for. Pure: no I/O.

Azure counts vCPUs: those of a family, those of all families (``cores``), and, for spot machines
instead of both, ``lowPriorityCores``; beside these it counts machines (``virtualMachines``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..gate import QuotaUse
from .skus import Size

CORES = "cores"
SPOT_CORES = "lowPriorityCores"
MACHINES = "virtualMachines"

_GENERAL = tuple(name.lower() for name in (CORES, SPOT_CORES, MACHINES))


@dataclass(frozen=True)
class Limit:
    """One limit of a region: ``used`` of ``limit``."""

    name: str
    description: str
    used: float
    limit: float
    unit: str = "count"

    @property
    def left(self) -> float:
        """How much of it is left; below 0 when the limit was lowered."""
        return self.limit - self.used


@dataclass(frozen=True)
class Quotas:
    """The limits of one region, by name in lower case; empty while they are not known."""

    region: str
    limits: Mapping[str, Limit] = field(default_factory=lambda: MappingProxyType({}))

    def lack(self, size: Size, *, spot: bool) -> str:
        """Why the limits leave no room for one machine of a size; "" when they do.

        What is not known does not stand in the way: Azure will say.
        """
        # Which of the two counts of a constrained size is meant is not documented; too little
        # said here costs one refusal, too much would hide an offer.
        cpus = min(size.cores, size.cpus)
        needs = [(SPOT_CORES, cpus)] if spot else [(size.family, cpus), (CORES, cpus)]
        for name, need in (*needs, (MACHINES, 1)):
            limit = self.limits.get(name.lower())
            if limit is not None and limit.left < need:
                return self._reason(limit, need)
        return ""

    def uses(self, families: Iterable[str]) -> list[QuotaUse]:
        """The limits on these families, and the general ones, for people to see."""
        wanted = {family.lower() for family in families}.union(_GENERAL)
        return [
            QuotaUse(
                name=limit.name,
                description=limit.description,
                region=self.region,
                used=limit.used,
                limit=limit.limit,
                unit="machines" if key == MACHINES.lower() else "vCPUs",
            )
            for key, limit in self.limits.items()
            if key in wanted
        ]

    def _reason(self, limit: Limit, need: int) -> str:
        if limit.limit < need:
            much = f"is {limit.limit:g}"
            if limit.limit > 0:
                much += f", less than the {need} of this size"
            return f"quota of {limit.name} in {self.region} {much}: ask for more in the portal"
        left = max(limit.left, 0)
        return (
            f"quota of {limit.name} in {self.region} is used up: "
            f"{left:g} of {limit.limit:g} left, {need} needed"
        )


def parse(rows: Iterable[object], region: str) -> Quotas:
    """What ``Microsoft.Compute/locations/{region}/usages`` says; senseless rows are left out."""
    found = (_limit(row) for row in rows)
    limits = {limit.name.lower(): limit for limit in found if limit is not None}
    return Quotas(region, MappingProxyType(limits))


def _limit(row: object) -> Limit | None:
    if not isinstance(row, Mapping):
        return None
    name, words = row.get("name"), ""
    if isinstance(name, Mapping):
        words = name.get("localizedValue") or ""
        name = name.get("value")
    used, limit = row.get("currentValue"), row.get("limit")
    if not isinstance(name, str) or not name or not _is_number(used) or not _is_number(limit):
        return None
    unit = row.get("unit")
    return Limit(
        name=name,
        description=words if isinstance(words, str) and words else name,
        used=float(used),  # type: ignore[arg-type]
        limit=float(limit),  # type: ignore[arg-type]
        unit=unit.lower() if isinstance(unit, str) and unit else "count",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
