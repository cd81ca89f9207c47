"""The sizes of virtual machines that the endpoint offers by itself, as ResourceSkus lists them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

_MIB = 1024 * 1024
_GIB = 1024 * _MIB


@dataclass(frozen=True)
class Size:
    """One size.

    Attributes
    ----------
    name, family
        "Standard_D4s_v5" and the counter of its quota, "standardDSv5Family".
    vcpus, memory
        Cores and GiB.
    gpus
        How many.
    architecture
        "x64" or "Arm64".
    generations
        Of Hyper-V: "V1", "V2" or "V1,V2".
    cached, resource, nvme
        Local storage in GiB: host cache, temporary disk, NVMe disks.
    spot, ephemeral, hibernation, accelerated, premium, trusted, rdma
        Whether it can be a Spot VM, boot from local storage, hibernate, has fast networking, takes
        Premium SSDs, can be a Trusted Launch VM, has InfiniBand.
    data_disks
        How many may be attached.
    regions
        Where it exists; empty for everywhere.
    zones
        In which zones.
    closed
        Regions where the subscription may not use it.
    closed_zones
        Zones where the subscription may not use it.
    price
        USD an hour on demand in the first region.
    """

    name: str
    family: str
    vcpus: int
    memory: float
    gpus: int = 0
    architecture: str = "x64"
    generations: str = "V1,V2"
    cached: int = 0
    resource: int = 0
    nvme: int = 0
    spot: bool = True
    ephemeral: bool = False
    hibernation: bool = False
    accelerated: bool = True
    premium: bool = True
    trusted: bool = True
    rdma: bool = False
    data_disks: int = 8
    regions: tuple[str, ...] = ()
    zones: tuple[str, ...] = ("1", "2", "3")
    closed: tuple[str, ...] = ()
    closed_zones: tuple[str, ...] = ()
    price: float = 0.0
    more: dict[str, str] = field(default_factory=dict)

    def capabilities(self) -> dict[str, str]:
        """Its capabilities as ResourceSkus words them."""
        found = {
            "MaxResourceVolumeMB": str(self.resource * 1024),
            "OSVhdSizeMB": "1047552",
            "vCPUs": str(self.vcpus),
            "MemoryPreservingMaintenanceSupported": str(self.gpus == 0),
            "HyperVGenerations": self.generations,
            "MemoryGB": f"{self.memory:g}",
            "MaxDataDiskCount": str(self.data_disks),
            "CpuArchitectureType": self.architecture,
            "LowPriorityCapable": str(self.spot),
            "PremiumIO": str(self.premium),
            "VMDeploymentTypes": "IaaS",
            "vCPUsAvailable": str(self.vcpus),
            "vCPUsPerCore": "1" if self.architecture == "Arm64" else "2",
            "EphemeralOSDiskSupported": str(self.ephemeral),
            "EncryptionAtHostSupported": str(self.premium),
            "CapacityReservationSupported": "True",
            "AcceleratedNetworkingEnabled": str(self.accelerated),
            "RdmaEnabled": str(self.rdma),
            "MaxNetworkInterfaces": "2",
        }
        if self.gpus:
            found["GPUs"] = str(self.gpus)
        if self.cached:
            found["CachedDiskBytes"] = str(self.cached * _GIB)
        if self.nvme:
            found["NvmeDiskSizeInMiB"] = str(self.nvme * 1024)
            found["NvmeSizePerDiskInMiB"] = str(self.nvme * 1024)
        if self.ephemeral:
            places = {
                "ResourceDisk": self.resource,
                "CacheDisk": self.cached,
                "NvmeDisk": self.nvme,
            }
            found["SupportedEphemeralOSDiskPlacements"] = ",".join(
                place for place, size in places.items() if size
            )
        if self.hibernation:
            found["HibernationSupported"] = "True"
        if not self.trusted:
            found["TrustedLaunchDisabled"] = "True"
        return found | self.more

    def row(self, region: str) -> dict[str, Any]:
        """Its row in the answer of ResourceSkus for a region."""
        zones = list(self.zones)
        restrictions: list[dict[str, Any]] = []
        if region in self.closed:
            restrictions.append(
                {
                    "type": "Location",
                    "values": [region],
                    "restrictionInfo": {"locations": [region]},
                    "reasonCode": "NotAvailableForSubscription",
                }
            )
        closed_zones = zones if region in self.closed else list(self.closed_zones)
        if closed_zones:
            restrictions.append(
                {
                    "type": "Zone",
                    "values": [region],
                    "restrictionInfo": {"locations": [region], "zones": closed_zones},
                    "reasonCode": "NotAvailableForSubscription",
                }
            )
        capabilities = self.capabilities()
        return {
            "resourceType": "virtualMachines",
            "name": self.name,
            "tier": "Standard",
            "size": self.name.removeprefix("Standard_"),
            "family": self.family,
            "locations": [region],
            "locationInfo": [{"location": region, "zones": zones, "zoneDetails": []}],
            "capabilities": [{"name": k, "value": v} for k, v in capabilities.items()],
            "restrictions": restrictions,
        }


_D = "standardDSv5Family"

SIZES = (
    Size("Standard_D2s_v5", _D, 2, 8, hibernation=True, price=0.096),
    Size("Standard_D4s_v5", _D, 4, 16, hibernation=True, price=0.192),
    Size("Standard_D8s_v5", _D, 8, 32, hibernation=True, price=0.384),
    Size(
        "Standard_D4ds_v5",
        "standardDDSv5Family",
        4,
        16,
        cached=100,
        resource=150,
        ephemeral=True,
        hibernation=True,
        price=0.226,
    ),
    Size("Standard_E4s_v5", "standardESv5Family", 4, 32, hibernation=True, price=0.252),
    Size(
        "Standard_F4s_v2",
        "standardFSv2Family",
        4,
        8,
        cached=64,
        resource=32,
        ephemeral=True,
        price=0.169,
    ),
    Size(
        "Standard_B2s",
        "standardBSFamily",
        2,
        4,
        cached=30,
        resource=8,
        spot=False,
        ephemeral=True,
        accelerated=False,
        data_disks=4,
        price=0.0416,
    ),
    Size(
        "Standard_D2s_v3",
        "standardDSv3Family",
        2,
        8,
        cached=50,
        resource=16,
        ephemeral=True,
        data_disks=4,
        price=0.096,
    ),
    Size(
        "Standard_D2_v2",
        "standardDv2Family",
        2,
        7,
        resource=100,
        generations="V1",
        premium=False,
        trusted=False,
        price=0.146,
    ),
    Size(
        "Standard_NC4as_T4_v3",
        "Standard NCASv3_T4 Family",
        4,
        28,
        gpus=1,
        cached=32,
        resource=176,
        ephemeral=True,
        trusted=False,
        zones=("1", "2"),
        price=0.526,
    ),
    Size(
        "Standard_NC24ads_A100_v4",
        "StandardNCADSA100v4Family",
        24,
        220,
        gpus=1,
        generations="V2",
        cached=256,
        resource=64,
        nvme=894,
        ephemeral=True,
        regions=("westeurope", "eastus"),
        zones=("1", "3"),
        price=3.673,
    ),
    Size(
        "Standard_HB120rs_v3",
        "standardHBrsv3Family",
        120,
        448,
        resource=480,
        cached=124,
        ephemeral=True,
        trusted=False,
        rdma=True,
        regions=("westeurope",),
        zones=(),
        price=3.6,
    ),
    Size(
        "Standard_D4ps_v5",
        "standardDPSv5Family",
        4,
        16,
        architecture="Arm64",
        generations="V2",
        trusted=False,
        price=0.154,
    ),
    Size(
        "Standard_L8s_v3",
        "standardLSv3Family",
        8,
        64,
        resource=80,
        cached=200,
        nvme=1788,
        ephemeral=True,
        closed_zones=("3",),
        data_disks=16,
        price=0.624,
    ),
    Size(
        "Standard_M64s",
        "standardMSFamily",
        64,
        1024,
        cached=6348,
        resource=2048,
        ephemeral=True,
        closed=("westeurope", "northeurope"),
        data_disks=64,
        price=6.669,
    ),
)
"""Real sizes: small and large, with GPUs, InfiniBand, Arm cores, and some that are restricted."""


def capability(row: dict[str, Any], name: str) -> str | None:
    """A capability of a ResourceSkus row, None when it has none of this name."""
    pairs = {each["name"]: each["value"] for each in row.get("capabilities") or ()}
    value: str | None = pairs.get(name)
    return value


def built_in(regions: Iterable[str]) -> list[dict[str, Any]]:
    """The rows of :data:`SIZES` and of some other resource types in each region."""
    rows = []
    for region in regions:
        rows += [each.row(region) for each in SIZES if not each.regions or region in each.regions]
        rows += _others(region)
    return rows


def invented(count: int, regions: Iterable[str]) -> list[dict[str, Any]]:
    """Rows of many sizes that do not exist, ten a family, to see what a large catalog costs."""
    sizes = []
    for number in range(count):
        cores = 2 ** (number % 7 + 1)
        sizes.append(
            Size(
                f"Standard_X{cores}s{number // 10:04}_v{number % 10 + 1}",
                f"standardX{number // 10:04}Family",
                cores,
                cores * (2, 4, 8)[number % 3],
                gpus=1 if number % 17 == 0 else 0,
                ephemeral=number % 2 == 0,
                cached=100,
                resource=100,
                spot=number % 5 != 0,
                price=round(0.04 * cores, 4),
            )
        )
    return [size.row(region) for region in regions for size in sizes]


def _others(region: str) -> list[dict[str, Any]]:
    place: dict[str, Any] = {
        "locations": [region],
        "locationInfo": [{"location": region, "zones": [], "zoneDetails": []}],
        "restrictions": [],
    }
    disk = {"MaxSizeGiB": "32", "MinSizeGiB": "0", "MaxIOps": "120", "MinIOps": "120"}
    return [
        {
            "resourceType": "availabilitySets",
            "name": "Aligned",
            "capabilities": [{"name": "MaximumPlatformFaultDomainCount", "value": "3"}],
            **place,
        },
        {
            "resourceType": "disks",
            "name": "Premium_LRS",
            "tier": "Premium",
            "size": "P4",
            "capabilities": [{"name": k, "value": v} for k, v in disk.items()],
            **place,
        },
    ]
