"""Usage and limits of a subscription in each region."""

from __future__ import annotations

import re
from typing import Any

_TITLES = {
    "cores": "Total Regional vCPUs",
    "lowPriorityCores": "Total Regional Low-priority vCPUs",
    "virtualMachines": "Virtual Machines",
}


class Quotas:
    """Counters such as "cores", "lowPriorityCores" and "standardDSv5Family", by region.

    Parameters
    ----------
    default
        The limit of counters that have none of their own.
    """

    def __init__(self, default: int = 10_000) -> None:
        self.default = default
        self._limits: dict[tuple[str, str], int] = {}
        self._used: dict[tuple[str, str], int] = {}
        self._names: dict[str, str] = {}
        self._titles: dict[str, str] = dict(_TITLES)

    def set(self, region: str, name: str, limit: int, title: str | None = None) -> None:
        """Limit a counter in a region."""
        self._limits[self._key(region, name)] = limit
        if title is not None:
            self._titles[name] = title

    def limit(self, region: str, name: str) -> int:
        """The limit of a counter."""
        return self._limits.get(self._key(region, name), self.default)

    def used(self, region: str, name: str) -> int:
        """What is in use."""
        return self._used.get(self._key(region, name), 0)

    def use(self, region: str, amounts: dict[str, int]) -> None:
        """Add to counters; negative amounts give back."""
        for name, amount in amounts.items():
            key = self._key(region, name)
            self._used[key] = max(0, self._used.get(key, 0) + amount)

    def lacking(self, region: str, amounts: dict[str, int]) -> str | None:
        """The first counter that would pass its limit, None when all fit."""
        for name, amount in amounts.items():
            if self.used(region, name) + amount > self.limit(region, name):
                return name
        return None

    def title(self, name: str) -> str:
        """A counter's name for people: "Standard DSv5 Family vCPUs"."""
        if name in self._titles:
            return self._titles[name]
        words = re.sub(r"^(standard|basic)", r"\1 ", name)
        words = re.sub(r"Family$", " Family vCPUs", words)
        return words[:1].upper() + words[1:]

    def usages(self, region: str) -> list[dict[str, Any]]:
        """All counters of a region as the usages API lists them."""
        names = dict.fromkeys(["cores", "virtualMachines", "lowPriorityCores"])
        keys = [*self._limits, *self._used]
        names.update(dict.fromkeys(self._names[key[1]] for key in keys if key[0] == region.lower()))
        return [
            {
                "limit": self.limit(region, name),
                "unit": "Count",
                "currentValue": self.used(region, name),
                "name": {"value": name, "localizedValue": self.title(name)},
            }
            for name in names
        ]

    def _key(self, region: str, name: str) -> tuple[str, str]:
        self._names.setdefault(name.lower(), name)
        return region.lower(), name.lower()
