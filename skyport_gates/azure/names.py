"""Names and tags of what the gate makes: each follows from the partition's name."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping

CORE = "skyport-core"
PARTITION = "skyport-partition"
NODES = "skyport-nodes"
"""Tags: the core it belongs to, the partition, and the number of nodes that this has."""

LONGEST = 54
"""Characters that a machine's name may have, so that its disk and network names fit in 64."""

_VALID = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?")
_TAG_VALUE = 256


def machine_names(partition: str, count: int) -> tuple[str, ...]:
    """The names of a partition's machines, in order: its own, or with a number behind it.

    A name that Azure does not allow is replaced by one that it does, made of the allowed
    characters and a hash.
    """
    suffixes = [""] if count == 1 else [f"-{index}" for index in range(count)]
    base = partition
    if not _VALID.fullmatch(base) or len(base) + len(suffixes[-1]) > LONGEST or base.isdigit():
        digest = hashlib.sha256(partition.encode()).hexdigest()[:12]
        kept = re.sub(r"[^A-Za-z0-9]+", "-", partition).strip("-")[:36].rstrip("-")
        base = f"{kept or 'node'}-{digest}"
    return tuple(f"{base}{suffix}" for suffix in suffixes)


def nic_name(machine: str) -> str:
    """Name of a machine's network interface; Azure may put more behind it."""
    return f"{machine}-nic"


def disk_name(machine: str) -> str:
    """Name of a machine's system disk."""
    return f"{machine}-os"


def address_name(machine: str) -> str:
    """Name of a machine's public address; Azure may put more behind it."""
    return f"{machine}-ip"


def placement_name(partition: str) -> str:
    """Name of the proximity placement group of a partition with several machines."""
    return f"{machine_names(partition, 1)[0]}-group"


def owner_of(resource: str, machines: Mapping[str, str]) -> str | None:
    """The machine that a disk, interface or address belongs to by its name, or None.

    Parameters
    ----------
    resource
        Its name.
    machines
        Names of machines, by their lower case.
    """
    name = resource.lower()
    for mark in ("-nic", "-os", "-ip"):
        # Azure appends "-" or "_" and letters of its own to some of these names.
        head, found, tail = name.rpartition(mark)
        if found and head in machines and (not tail or tail[0] in "-_"):
            return machines[head]
    return None


def last(resource_id: str) -> str:
    """The last part of a resource's id, which is its name."""
    return resource_id.rstrip("/").rpartition("/")[2]


def tag(tags: Mapping[str, str] | None, name: str) -> str:
    """The value of a tag; Azure does not keep the case of tags' names. "" if there is none."""
    wanted = name.lower()
    return next((value for key, value in (tags or {}).items() if key.lower() == wanted), "")


def all_tags(
    core_id: str, partition: str, count: int, given: Mapping[str, str], extra: Mapping[str, str]
) -> dict[str, str]:
    """What is written on everything made for a partition."""
    own = {CORE: core_id, PARTITION: partition, NODES: str(count)}
    return {key: value[:_TAG_VALUE] for key, value in {**extra, **given, **own}.items()}
