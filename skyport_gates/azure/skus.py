"""Sizes of machines, as Azure's list of resource SKUs describes them. Pure: no I/O.

The list is that of ``Microsoft.Compute/skus``. Its rows differ with their age, region and
subscription, so every field may be missing, empty, or spelled in another case.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

X64 = "x64"
ARM64 = "Arm64"

_FPGAS = re.compile(r"standard_n[pm]\d", re.IGNORECASE)
"""Their accelerators are counted as GPUs, but run no CUDA: U250 cards and video coders."""

_GPU_NAMED = re.compile(
    r"_(T4|A10|A100|H100|H200|GB200|GB300|MI300X|V620|V710|RTXPRO6000\w*?)(?=_|$)", re.IGNORECASE
)
"""Newer sizes have the model in their names: ``Standard_NC4as_T4_v3``."""

_GPU_SERIES = (
    (r"standard_nc\d+r?s_v3", "V100"),
    (r"standard_nc\d+r?s_v2", "P100"),
    (r"standard_nc\d+r?(_|$)", "K80"),
    (r"standard_nd\d+r?s_v[23]", "V100"),
    (r"standard_nd\d+a?ms?r?_v4|standard_nd\d+asr_v4", "A100"),
    (r"standard_nd\d+r?s(_|$)", "P40"),
    (r"standard_nv\d+as_v4", "MI25"),
    (r"standard_nv\d+(s_v[23])?(_|$)", "M60"),
)
"""For older sizes the series tells."""


@dataclass(frozen=True)
class Size:
    """A size of machine in one region, as this subscription sees it.

    Attributes
    ----------
    name, region, family
        As Azure writes them, the region in lower case; ``family`` names its quota.
    cpus, memory
        vCPUs that the machine has (fewer than its quota costs, for a constrained size), and MiB.
    cores
        vCPUs that it takes of the quota.
    gpus, gpu_type
        GPUs, whole or in part, and their model ("" when unknown).
    architecture
        ``x64`` or ``Arm64``.
    generations
        Generations of virtual machines that it can be (1, 2).
    zones
        Zones of the region that this subscription may use it in.
    restriction
        Why this subscription cannot have it at all; "" when it can.
    temporary
        GiB of the temporary disk on the host.
    cached, resource, nvme
        MiB on the host's cache, temporary and NVMe disks, for an ephemeral system disk.
    placements
        Where an ephemeral system disk may be: ``CacheDisk``, ``ResourceDisk``, ``NvmeDisk``; none
        when the size has no such disks.
    spot, hibernation, accelerated_networking, trusted_launch, premium_disk
        What it can.
    confidential
        It makes confidential machines only, which need images and disks of their own.
    controllers
        Disk controllers (``SCSI``, ``NVMe``); empty when Azure does not say.
    """

    name: str
    region: str
    family: str = ""
    cpus: int = 0
    memory: int = 0
    cores: int = 0
    gpus: int = 0
    gpu_type: str = ""
    architecture: str = X64
    generations: tuple[int, ...] = (1,)
    zones: tuple[str, ...] = ()
    restriction: str = ""
    temporary: int = 0
    cached: int = 0
    resource: int = 0
    nvme: int = 0
    placements: tuple[str, ...] = ()
    spot: bool = False
    hibernation: bool = False
    accelerated_networking: bool = False
    trusted_launch: bool = False
    premium_disk: bool = False
    confidential: bool = False
    controllers: tuple[str, ...] = ()

    def ephemeral_placement(self, gib: int, *, trusted_launch: bool = False) -> str | None:
        """Where a system disk of ``gib`` GiB fits on the host; None: nowhere.

        The cache is preferred: what it holds is not taken from the temporary disk. Beside the
        disk of a machine of trusted launch, Azure keeps 1 GiB for the guest's state.
        """
        need = (gib + (1 if trusted_launch else 0)) * 1024
        room = {"CacheDisk": self.cached, "ResourceDisk": self.resource, "NvmeDisk": self.nvme}
        for placement, mib in room.items():
            if placement in self.placements and mib >= need:
                return placement
        return None


def parse_all(rows: Iterable[object], region: str) -> dict[str, Size]:
    """The sizes of ``region`` among rows of the list, by their names in lower case.

    Rows of other resources, of other regions, or that make no sense are left out.
    """
    sizes = (parse(row, region) for row in rows)
    return {size.name.lower(): size for size in sizes if size is not None}


def parse(row: object, region: str) -> Size | None:
    """One row of the list as a size of ``region``; None if it is none."""
    if not isinstance(row, Mapping) or _text(_get(row, "resourceType")).lower() != (
        "virtualmachines"
    ):
        return None
    name = _text(_get(row, "name"))
    places = {place.lower() for place in _texts(_get(row, "locations"))}
    info = _info(row, region)
    if not name or (region not in places and info is None):
        return None
    abilities = _abilities(_get(row, "capabilities"))
    if "iaas" not in abilities.get("vmdeploymenttypes", "IaaS").lower().split(","):
        return None
    cores = _whole(abilities.get("vcpus"))
    cpus = _whole(abilities.get("vcpusavailable")) or cores
    memory = _mebibytes(abilities.get("memorygb"))
    if cpus <= 0 or memory <= 0:
        return None
    restriction, closed = _restrictions(row, region)
    open_zones = {zone for zone in _texts(_get(info or {}, "zones")) if zone not in closed}
    gpus = 0 if _FPGAS.match(name) else _gpu_count(abilities.get("gpus"))
    generations = _generations(abilities.get("hypervgenerations", ""))
    confidential = abilities.get("confidentialcomputingtype", "").upper() in ("SNP", "TDX")
    resource = _whole(abilities.get("maxresourcevolumemb"))
    return Size(
        name=name,
        region=region,
        family=_text(_get(row, "family")),
        cpus=cpus,
        memory=memory,
        cores=cores or cpus,
        gpus=gpus,
        gpu_type=gpu_model(name) if gpus else "",
        architecture=_architecture(abilities.get("cpuarchitecturetype", "")),
        generations=generations,
        zones=tuple(sorted(open_zones)),
        restriction=restriction,
        temporary=resource // 1024,
        cached=_whole(abilities.get("cacheddiskbytes")) // (1 << 20),
        resource=resource,
        nvme=_whole(abilities.get("nvmedisksizeinmib")),
        placements=_placements(abilities),
        spot=_true(abilities, "lowprioritycapable"),
        hibernation=_true(abilities, "hibernationsupported"),
        accelerated_networking=_true(abilities, "acceleratednetworkingenabled"),
        trusted_launch=2 in generations and not _true(abilities, "trustedlaunchdisabled"),
        premium_disk=_true(abilities, "premiumio"),
        confidential=confidential,
        controllers=tuple(_texts(abilities.get("diskcontrollertypes", "").split(","))),
    )


def gpu_model(name: str) -> str:
    """The model of the GPUs of a size, from its name: ``T4``, ``A100``; "" when unknown."""
    named = _GPU_NAMED.search(name)
    if named:
        model = named[1].upper()
        return "RTXPRO6000" if model.startswith("RTXPRO6000") else model
    for pattern, model in _GPU_SERIES:
        if re.match(pattern, name, re.IGNORECASE):
            return model
    return ""


# -- fields of a row, whatever they look like --------------------------------------------------


def _get(row: Mapping[Any, Any], key: str) -> Any:
    value = row.get(key)
    if value is not None:
        return value
    wanted = key.lower()
    for name in row:
        if isinstance(name, str) and name.lower() == wanted:
            return row[name]
    return None


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _items(value: object) -> Iterator[Any]:
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        yield from value


def _texts(value: object) -> Iterator[str]:
    return (text for text in map(_text, _items(value)) if text)


def _mappings(value: object) -> Iterator[Mapping[Any, Any]]:
    return (item for item in _items(value) if isinstance(item, Mapping))


def _abilities(value: object) -> dict[str, str]:
    """Capabilities by their names in lower case."""
    return {
        _text(_get(item, "name")).lower(): _text(_get(item, "value")) for item in _mappings(value)
    }


def _info(row: Mapping[Any, Any], region: str) -> Mapping[Any, Any] | None:
    for info in _mappings(_get(row, "locationInfo")):
        if _text(_get(info, "location")).lower() == region:
            return info
    return None


def _restrictions(row: Mapping[Any, Any], region: str) -> tuple[str, set[str]]:
    """Why the size is not to be had in the region ("" if it is), and the zones that are closed."""
    reason, closed = "", set()
    for item in _mappings(_get(row, "restrictions")):
        about = _get(item, "restrictionInfo")
        about = about if isinstance(about, Mapping) else {}
        places = {place.lower() for place in _texts(_get(about, "locations"))}
        places |= {place.lower() for place in _texts(_get(item, "values"))}
        if places and region not in places:
            continue
        if _text(_get(item, "type")).lower() == "zone":
            closed |= set(_texts(_get(about, "zones")))
        else:
            code = _text(_get(item, "reasonCode")) or "restricted"
            reason = _REASONS.get(code.lower(), f"Azure restricts it ({code})")
    return reason, closed


_REASONS = {
    "notavailableforsubscription": "not available for this subscription; ask Azure's support",
    "quotaid": "not part of this subscription's offer",
}


def _true(abilities: Mapping[str, str], name: str) -> bool:
    return abilities.get(name, "").lower() == "true"


def _number(text: str | None) -> float:
    try:
        number = float(text or 0)
    except ValueError:
        return 0.0
    return number if 0 <= number < 1e18 else 0.0


def _whole(text: str | None) -> int:
    return int(_number(text))


def _mebibytes(gib: str | None) -> int:
    return int(_number(gib) * 1024)


def _gpu_count(text: str | None) -> int:
    number = _number(text)
    return max(1, int(number)) if number > 0 else 0


def _architecture(text: str) -> str:
    return ARM64 if text.lower() == ARM64.lower() else X64


def _generations(text: str) -> tuple[int, ...]:
    found = tuple(number for number in (1, 2) if f"v{number}" in text.lower())
    return found or (1,)


def _placements(abilities: Mapping[str, str]) -> tuple[str, ...]:
    if not _true(abilities, "ephemeralosdisksupported"):
        return ()
    named = abilities.get("supportedephemeralosdiskplacements", "")
    return tuple(_texts(named.split(","))) or ("CacheDisk", "ResourceDisk")
