"""Sizes as Azure's list of resource SKUs describes them."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyport_gates.azure.skus import ARM64, X64, Size, gpu_model, parse, parse_all
from tests.infra.data import AZURE_DATA, needs_azure_data

D4S: dict[str, str] = {
    "vCPUs": "4",
    "vCPUsAvailable": "4",
    "MemoryGB": "16",
    "MaxResourceVolumeMB": "32768",
    "CachedDiskBytes": "107374182400",
    "EphemeralOSDiskSupported": "True",
    "HyperVGenerations": "V1,V2",
    "LowPriorityCapable": "True",
    "PremiumIO": "True",
    "AcceleratedNetworkingEnabled": "True",
    "CpuArchitectureType": "x64",
}


def row(name: str = "Standard_D4s_v3", **changes: Any) -> dict[str, Any]:
    """A row of the list; ``abilities`` change its capabilities, None removes one."""
    abilities = {**D4S, **changes.pop("abilities", {})}
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "family": "standardDSv3Family",
        "locations": ["westeurope"],
        "locationInfo": [{"location": "westeurope", "zones": ["3", "1", "2"], "zoneDetails": []}],
        "capabilities": [{"name": k, "value": v} for k, v in abilities.items() if v is not None],
        "restrictions": [],
        **changes,
    }


def size(*arguments: Any, **changes: Any) -> Size:
    """The size of :func:`row`."""
    found = parse(row(*arguments, **changes), "westeurope")
    assert found is not None
    return found


def restriction(kind: str, *zones: str) -> dict[str, Any]:
    """As Azure writes it, the region in another case than elsewhere."""
    return {
        "type": kind,
        "values": ["WestEurope"],
        "restrictionInfo": {"locations": ["WestEurope"], "zones": list(zones)},
        "reasonCode": "NotAvailableForSubscription",
    }


def test_a_size_has_its_cpus_memory_and_disks() -> None:
    found = size()
    assert (found.cpus, found.memory, found.temporary) == (4, 16384, 32)
    assert (found.cached, found.resource, found.nvme) == (102400, 32768, 0)


def test_a_size_has_its_abilities() -> None:
    found = size(abilities={"HibernationSupported": "True"})
    assert found.spot and found.premium_disk and found.accelerated_networking
    assert found.hibernation and found.trusted_launch and found.generations == (1, 2)


def test_zones_are_in_order() -> None:
    assert size().zones == ("1", "2", "3")


def test_a_restricted_zone_is_not_offered() -> None:
    assert size(restrictions=[restriction("Zone", "1", "3")]).zones == ("2",)


def test_without_zones_left_the_size_can_still_be_had_without_naming_one() -> None:
    found = size(restrictions=[restriction("Zone", "1", "2", "3")])
    assert (found.zones, found.restriction) == ((), "")


def test_a_restricted_region_tells_why() -> None:
    found = size(restrictions=[restriction("Location")])
    assert "subscription" in found.restriction


def test_a_restriction_elsewhere_does_not_count() -> None:
    other = restriction("Location")
    other |= {"values": ["eastus"], "restrictionInfo": {"locations": ["eastus"]}}
    assert size(restrictions=[other]).restriction == ""


def test_a_row_of_another_region_is_none() -> None:
    assert parse(row(), "eastus") is None


def test_the_region_may_be_in_any_case() -> None:
    assert parse(row(locations=["WestEurope"], locationInfo=None), "westeurope") is not None


def test_disks_are_no_machines() -> None:
    assert parse(row(resourceType="disks"), "westeurope") is None


def test_sizes_for_cloud_services_only_are_left_out() -> None:
    assert parse(row(abilities={"VMDeploymentTypes": "PaaS"}), "westeurope") is None


def test_a_constrained_size_has_fewer_cpus_than_it_takes_of_the_quota() -> None:
    found = size("Standard_M8-2ms", abilities={"vCPUs": "8", "vCPUsAvailable": "2"})
    assert (found.cpus, found.cores) == (2, 8)


def test_arm_is_told_apart() -> None:
    assert size(abilities={"CpuArchitectureType": "Arm64"}).architecture == ARM64
    assert size(abilities={"CpuArchitectureType": None}).architecture == X64


def test_trusted_launch_needs_the_second_generation() -> None:
    assert not size(abilities={"HyperVGenerations": "V1"}).trusted_launch
    assert not size(abilities={"TrustedLaunchDisabled": "True"}).trusted_launch


def test_confidential_machines_are_told_apart() -> None:
    assert size(abilities={"ConfidentialComputingType": "SNP"}).confidential


def test_an_ephemeral_disk_goes_where_it_fits() -> None:
    found = size()
    assert found.ephemeral_placement(30) == "CacheDisk"
    assert size(abilities={"CachedDiskBytes": None}).ephemeral_placement(30) == "ResourceDisk"
    assert found.ephemeral_placement(200) is None


def test_beside_a_disk_of_trusted_launch_there_is_room_for_the_guests_state() -> None:
    found = size(abilities={"CachedDiskBytes": str(30 * 2**30), "MaxResourceVolumeMB": "0"})
    assert found.ephemeral_placement(30) == "CacheDisk"
    assert found.ephemeral_placement(30, trusted_launch=True) is None
    assert found.ephemeral_placement(29, trusted_launch=True) == "CacheDisk"


def test_an_ephemeral_disk_goes_only_where_azure_supports_it() -> None:
    nvme = {"SupportedEphemeralOSDiskPlacements": "NvmeDisk", "NvmeDiskSizeInMiB": "915527"}
    assert size(abilities=nvme).ephemeral_placement(30) == "NvmeDisk"
    assert size(abilities={"EphemeralOSDiskSupported": "False"}).ephemeral_placement(30) is None


def test_gpus_have_a_model() -> None:
    found = size("Standard_NC8as_T4_v3", abilities={"GPUs": "1"})
    assert (found.gpus, found.gpu_type) == (1, "T4")


def test_programmable_cards_are_no_gpus() -> None:
    assert size("Standard_NP10s", abilities={"GPUs": "1"}).gpus == 0


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Standard_NC4as_T4_v3", "T4"),
        ("Standard_NC24ads_A100_v4", "A100"),
        ("Standard_ND96asr_v4", "A100"),
        ("Standard_NV12ads_A10_v5", "A10"),
        ("Standard_NC40ads_H100_v5", "H100"),
        ("Standard_ND96isr_H200_v5", "H200"),
        ("Standard_ND96isr_MI300X_v5", "MI300X"),
        ("Standard_NC6", "K80"),
        ("Standard_NC24rs_v2", "P100"),
        ("Standard_NC6s_v3", "V100"),
        ("Standard_ND40rs_v2", "V100"),
        ("Standard_ND6s", "P40"),
        ("Standard_NV6", "M60"),
        ("Standard_NV12s_v3", "M60"),
        ("Standard_NV4as_v4", "MI25"),
        ("Standard_NV4ads_V710_v5", "V710"),
        ("Standard_NZ99_new", ""),
    ],
)
def test_the_model_follows_from_the_name(name: str, model: str) -> None:
    assert gpu_model(name) == model


def test_names_are_found_in_any_case() -> None:
    assert parse_all([row(), None, row(resourceType="disks")], "westeurope").keys() == {
        "standard_d4s_v3"
    }


@pytest.mark.parametrize(
    "damage",
    [
        {"capabilities": None},
        {"capabilities": [None, {"name": "vCPUs"}, {"value": "4"}, 3]},
        {"locationInfo": [{"location": None, "zones": None}]},
        {"restrictions": [{"type": "Zone", "restrictionInfo": None}]},
        {"name": None},
    ],
)
def test_a_damaged_row_does_no_harm(damage: dict[str, Any]) -> None:
    found = parse({**row(), **damage}, "westeurope")
    assert found is None or found.name == "Standard_D4s_v3"


_KEYS = st.sampled_from(
    [
        *("resourceType", "name", "family", "locations", "locationInfo", "capabilities", "value"),
        *("restrictions", "type", "values", "zones", "location", "restrictionInfo", "reasonCode"),
    ]
)
_WORDS = st.sampled_from(
    [
        *("virtualMachines", "Standard_D4s_v3", "westeurope", "vCPUs", "MemoryGB", "GPUs", "True"),
        *("4", "1e400", "nan", "-1", "Zone", "Location", "1", "Arm64", "V2"),
    ]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_KEYS | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=20,
)


@given(_JSON)
def test_no_row_is_a_crash(anything: object) -> None:
    found = parse(anything, "westeurope")
    assert found is None or isinstance(found, Size)


@given(st.dictionaries(_KEYS, _JSON, max_size=6))
def test_no_field_of_a_row_is_a_crash(changes: dict[str, Any]) -> None:
    found = parse({**row(), **changes}, "westeurope")
    assert found is None or found.cpus > 0


@given(st.dictionaries(st.sampled_from(sorted(D4S)), _WORDS | st.text(max_size=6)))
def test_no_value_of_an_ability_is_a_crash(abilities: dict[str, str]) -> None:
    found = parse(row(abilities=abilities), "westeurope")
    assert found is None or (found.cpus > 0 and found.memory > 0)


@needs_azure_data
def test_every_recorded_row_is_a_size() -> None:
    with gzip.open(AZURE_DATA / "resource_skus_all_2020_recorded.json.gz") as file:
        rows = [r for r in json.load(file)["value"] if r["resourceType"] == "virtualMachines"]
    found = [parse(each, each["locations"][0].lower()) for each in rows]
    assert len(rows) == 9051
    assert all(each is not None and each.cpus > 0 and each.memory > 0 for each in found)
    assert all(each.gpu_type for each in found if each is not None and each.gpus)


@needs_azure_data
@pytest.mark.parametrize(
    "name", ["resource_skus_southcentralus_karpenter.json", "skewer_eastus_skus.json"]
)
def test_newer_recorded_rows_are_sizes(name: str) -> None:
    rows = json.loads((AZURE_DATA / name).read_text())["value"]
    found = [parse(each, each["locations"][0]) for each in rows]
    assert rows and all(found)
