"""Which sizes exist where: ResourceSkus, sizes and usages of a region, and the regions."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.infra.arm import sizes
from tests.infra.arm.router import Answer, ArmError, Call, Router
from tests.infra.arm.state import REGIONS

_FILTER = re.compile(r"^\s*location\s+eq\s+'([^']*)'\s*$", re.IGNORECASE)
_RECORDED = "resource_skus_all_2020_recorded.json.gz"


class Catalog:
    """The rows of ResourceSkus.

    Parameters
    ----------
    rows
        As the API lists them, each for one region.

    Attributes
    ----------
    page_size
        How many rows an answer holds before its nextLink.
    prices
        USD an hour on demand by size and region, where they are known.
    """

    def __init__(self, rows: Iterable[dict[str, Any]]) -> None:
        self.rows = list(rows)
        self.page_size = 5000
        self.prices: dict[tuple[str, str], float] = {}
        self._by_region: dict[str, list[dict[str, Any]]] = {}
        self._sizes: dict[tuple[str, str], dict[str, Any]] = {}
        for row in self.rows:
            region = row["locations"][0].lower()
            self._by_region.setdefault(region, []).append(row)
            if row["resourceType"] == "virtualMachines":
                self._sizes[region, row["name"].lower()] = row

    @classmethod
    def built_in(cls, regions: Iterable[str] = REGIONS) -> Catalog:
        """The sizes of :mod:`tests.infra.arm.sizes`."""
        names = list(regions)
        catalog = cls(sizes.built_in(names))
        for index, region in enumerate(names):
            for size in sizes.SIZES:
                catalog.prices[size.name, region] = round(size.price * (1 + index / 10), 4)
        return catalog

    @classmethod
    def recorded(cls, data: Path) -> Catalog:
        """A complete answer of Azure with 9,051 rows of sizes; ``data`` is its folder."""
        with gzip.open(data / _RECORDED) as file:
            catalog = cls(json.load(file)["value"])
        known = next(data.glob("azure_ondemand_prices_*.json.gz"))
        with gzip.open(known) as file:
            for region, prices in json.load(file)["prices"].items():
                catalog.prices.update({(name, region): price for name, price in prices.items()})
        return catalog

    @classmethod
    def synthetic(cls, count: int, regions: int) -> Catalog:
        """Many invented sizes in as many regions as asked for."""
        names = [*REGIONS, *(f"region{number}" for number in range(len(REGIONS), regions))]
        return cls(sizes.invented(count, names[:regions]))

    @property
    def regions(self) -> list[str]:
        """All regions, in lower case."""
        return list(self._by_region)

    def sku(self, region: str, name: str) -> dict[str, Any] | None:
        """A size's row for a region, None when it does not exist there."""
        return self._sizes.get((region.lower(), name.lower()))

    def of(self, region: str) -> list[dict[str, Any]]:
        """All rows of a region."""
        return self._by_region.get(region.lower(), [])

    def virtual_machines(self, region: str) -> list[dict[str, Any]]:
        """The rows of a region that are sizes of virtual machines."""
        return [row for row in self.of(region) if row["resourceType"] == "virtualMachines"]

    def price(self, row: dict[str, Any]) -> float:
        """USD an hour on demand of a row; by its cores where no price is known."""
        known = self.prices.get((row["name"], row["locations"][0].lower()))
        if known is not None:
            return known
        return round(0.048 * float(sizes.capability(row, "vCPUs") or 1), 4)


def routes(router: Router) -> None:
    """Register the paths of ResourceSkus, usages, sizes of a region and regions."""
    compute = "/subscriptions/{sub}/providers/Microsoft.Compute"
    router.add("GET", f"{compute}/skus", _skus, kind="skus.list")
    router.add("GET", f"{compute}/locations/{{location}}/usages", _usages, kind="usages.list")
    router.add("GET", f"{compute}/locations/{{location}}/vmSizes", _vm_sizes, kind="vmSizes.list")
    router.add("GET", "/subscriptions/{sub}/locations", _locations, kind="locations.list")


def paged(call: Call, values: list[Any], size: int) -> dict[str, Any]:
    """One page of a list and the link to the next one.

    Parameters
    ----------
    call
        The request; its ``$skiptoken`` says where the page starts.
    values
        The whole list.
    size
        Values on a page.
    """
    start = int(call.option("$skiptoken", "0") or 0)
    page: dict[str, Any] = {"value": values[start : start + size]}
    if start + size < len(values):
        kept = {k: v for k, v in call.query.items() if k.lower() != "$skiptoken"}
        query = [f"{quote(k)}={quote(v)}" for k, v in kept.items()]
        query.append(f"%24skiptoken={start + size}")
        page["nextLink"] = f"{call.base}{call.path}?{'&'.join(query)}"
    return page


def known_region(call: Call) -> str:
    """The region in the path; :class:`ArmError` when there is none of this name."""
    location = call.params["location"].replace(" ", "").lower()
    if location not in call.arm.sizes.regions:
        raise ArmError(
            400,
            "NoRegisteredProviderFound",
            f"No registered resource provider found for location '{location}' and API version"
            f" '{call.option('api-version')}' for type 'locations/usages'.",
        )
    return location


async def _skus(call: Call) -> Answer:
    catalog: Catalog = call.arm.sizes
    wanted = call.option("$filter")
    match = _FILTER.match(wanted)
    if wanted and match is None:
        raise ArmError(
            400, "InvalidFilterInQueryString", f"Invalid $filter '{wanted}' specified in the query."
        )
    rows = catalog.of(match.group(1)) if match else catalog.rows
    return Answer(200, paged(call, rows, catalog.page_size))


async def _usages(call: Call) -> Answer:
    location = known_region(call)
    quotas = call.arm.quotas
    for row in call.arm.sizes.virtual_machines(location):
        if row.get("family"):
            quotas.use(location, {row["family"]: 0})
    return Answer(200, {"value": quotas.usages(location)})


async def _vm_sizes(call: Call) -> Answer:
    found = []
    for row in call.arm.sizes.virtual_machines(known_region(call)):
        capabilities = {each["name"]: each["value"] for each in row["capabilities"]}
        found.append(
            {
                "name": row["name"],
                "numberOfCores": int(capabilities["vCPUs"]),
                "osDiskSizeInMB": int(capabilities.get("OSVhdSizeMB", 1047552)),
                "resourceDiskSizeInMB": int(capabilities.get("MaxResourceVolumeMB", 0)),
                "memoryInMB": int(float(capabilities["MemoryGB"]) * 1024),
                "maxDataDiskCount": int(capabilities.get("MaxDataDiskCount", 0)),
            }
        )
    return Answer(200, {"value": found})


async def _locations(call: Call) -> Answer:
    found = []
    for region in call.arm.sizes.regions:
        found.append(
            {
                "id": f"/subscriptions/{call.arm.subscription}/locations/{region}",
                "name": region,
                "type": "Region",
                "displayName": region.capitalize(),
                "regionalDisplayName": region.capitalize(),
                "metadata": {
                    "regionType": "Physical",
                    "regionCategory": "Recommended",
                    "geography": region.capitalize(),
                    "geographyGroup": "Europe" if "europe" in region else "US",
                    "physicalLocation": region.capitalize(),
                    "longitude": "4.9",
                    "latitude": "52.3667",
                    "pairedRegion": [],
                },
                "availabilityZoneMappings": [
                    {"logicalZone": zone, "physicalZone": f"{region}-az{zone}"} for zone in "123"
                ],
            }
        )
    return Answer(200, {"value": found})
