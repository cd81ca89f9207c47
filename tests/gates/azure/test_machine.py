"""The body that makes a machine, checked against the types of Azure's SDK."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import typing_extensions as te
from azure.mgmt.compute import models
from azure.mgmt.compute import types as sdk

from skyport_gates.azure.images import Variant
from skyport_gates.azure.machine import Machine, place, vm_body
from skyport_gates.azure.settings import AzureSettings
from skyport_gates.azure.skus import Size
from skyport_gates.gate import InvalidRequest, PartitionRequest

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/skyport"
SUBNET = f"{GROUP}/providers/Microsoft.Network/virtualNetworks/skyport-westeurope/subnets/nodes"
URN = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
_NAMES = {**vars(models), **vars(sdk)}
TAGS = {"skyport-core": "core-1", "skyport-partition": "sp-1"}
REQUEST = PartitionRequest("sp-1", "Standard_D4ds_v5", "alice", "", region="westeurope")
SIZE = Size(
    "Standard_D4ds_v5",
    "westeurope",
    cpus=4,
    memory=16384,
    generations=(1, 2),
    cached=100 * 1024,
    resource=150 * 1024,
    placements=("CacheDisk", "ResourceDisk"),
    spot=True,
    hibernation=True,
    accelerated_networking=True,
    trusted_launch=True,
    premium_disk=True,
)
MACHINE = Machine("sp-1", SIZE, Variant(URN, generation=2), "ZGF0YQ==", "ssh-ed25519 AAAA", TAGS)


def body(
    request: PartitionRequest = REQUEST,
    machine: Machine = MACHINE,
    size: Mapping[str, Any] | None = None,
    **traits: Any,
) -> dict[str, Any]:
    """The body, all of whose fields Azure knows."""
    settings = AzureSettings(subscription=SUBSCRIPTION, regions=["westeurope"], **traits)
    made = vm_body(request, settings, replace(machine, size=replace(SIZE, **(size or {}))))
    assert unknown(made, sdk.VirtualMachine, "") == []
    return made


def unknown(value: Any, hint: Any, where: str) -> list[str]:
    """Fields that the SDK's types do not have, and values that they do not allow."""
    origin = te.get_origin(hint)
    if origin in (te.Required, te.NotRequired):
        return unknown(value, typing.get_args(hint)[0], where)
    if origin in (typing.Union, types.UnionType):
        return min((unknown(value, each, where) for each in typing.get_args(hint)), key=len)
    if origin is list:
        (inner,) = typing.get_args(hint)
        return [found for each in value for found in unknown(each, inner, where)]
    if origin is dict and isinstance(value, dict):
        inner = typing.get_args(hint)[1]
        return [
            found for k, each in value.items() for found in unknown(each, inner, f"{where}.{k}")
        ]
    if te.is_typeddict(hint):
        if not isinstance(value, dict):
            return [where]
        hints = te.get_type_hints(hint, _NAMES, include_extras=True)
        needed = {name for name, each in hints.items() if te.get_origin(each) is te.Required}
        missing = [f"{where}.{name} is missing" for name in needed - set(value)]
        strange = [f"{where}.{name}" for name in set(value) - set(hints)]
        return (
            missing
            + strange
            + [
                found
                for name, each in value.items()
                if name in hints
                for found in unknown(each, hints[name], f"{where}.{name}")
            ]
        )
    if hint is float:
        hint = (int, float)
    ok = not isinstance(hint, (type, tuple)) or isinstance(value, hint)
    return [] if ok else [f"{where} is {value!r}"]


def test_the_whole_body() -> None:
    assert body(zone_request()) == {
        "location": "westeurope",
        "zones": ["2"],
        "tags": TAGS,
        "properties": {
            "hardwareProfile": {"vmSize": "Standard_D4ds_v5"},
            "storageProfile": {
                "imageReference": URN,
                "osDisk": {
                    "name": "sp-1-os",
                    "createOption": "FromImage",
                    "deleteOption": "Delete",
                    "diskSizeGB": 30,
                    "caching": "ReadOnly",
                    "diffDiskSettings": {"option": "Local", "placement": "CacheDisk"},
                    "managedDisk": {"storageAccountType": "Standard_LRS"},
                },
            },
            "osProfile": {
                "computerName": "sp-1",
                "adminUsername": "skyport",
                "customData": "ZGF0YQ==",
                "allowExtensionOperations": False,
                "linuxConfiguration": {
                    "disablePasswordAuthentication": True,
                    "provisionVMAgent": True,
                    "ssh": {
                        "publicKeys": [
                            {
                                "path": "/home/skyport/.ssh/authorized_keys",
                                "keyData": "ssh-ed25519 AAAA",
                            }
                        ]
                    },
                },
            },
            "networkProfile": {
                "networkApiVersion": "2022-11-01",
                "networkInterfaceConfigurations": [
                    {
                        "name": "sp-1-nic",
                        "tags": TAGS,
                        "properties": {
                            "primary": True,
                            "deleteOption": "Delete",
                            "enableAcceleratedNetworking": True,
                            "ipConfigurations": [
                                {
                                    "name": "primary",
                                    "properties": {
                                        "primary": True,
                                        "subnet": {"id": SUBNET},
                                        "privateIPAddressVersion": "IPv4",
                                    },
                                }
                            ],
                        },
                    }
                ],
            },
            "securityProfile": {
                "securityType": "TrustedLaunch",
                "uefiSettings": {"secureBootEnabled": True, "vTpmEnabled": True},
            },
            "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
        },
    }


def zone_request() -> PartitionRequest:
    return replace(REQUEST, zone="2")


def disk(made: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = made["properties"]["storageProfile"]["osDisk"]
    return found


def test_the_same_request_has_the_same_body() -> None:
    assert body() == body()


@pytest.mark.parametrize(
    ("room", "placement"),
    [
        ({"cached": 0}, "ResourceDisk"),
        ({"placements": ("NvmeDisk",), "nvme": 40 * 1024}, "NvmeDisk"),
        ({"cached": 0, "resource": 0}, None),
        ({"placements": ()}, None),
    ],
)
def test_the_disk_is_on_the_host_where_there_is_room(
    room: dict[str, Any], placement: str | None
) -> None:
    found = disk(body(size=room))
    assert found.get("diffDiskSettings", {}).get("placement") == placement
    assert (found["caching"] == "ReadOnly") is (placement is not None)


def test_a_disk_that_outlives_a_sleep_is_managed() -> None:
    found = disk(body(replace(REQUEST, suspendable=True)))
    assert "diffDiskSettings" not in found
    assert found["managedDisk"] == {"storageAccountType": "Premium_LRS"}
    assert found["deleteOption"] == "Delete"


def test_a_size_without_premium_storage_gets_the_next_best() -> None:
    found = disk(body(size={"premium_disk": False}, disk="managed"))
    assert found["managedDisk"] == {"storageAccountType": "StandardSSD_LRS"}


def test_an_ephemeral_disk_that_does_not_fit_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="no room"):
        body(disk="ephemeral", disk_size=500)


@pytest.mark.parametrize(("trusted", "fits"), [(True, False), (False, True)])
def test_trusted_launch_needs_room_beside_the_disk(trusted: bool, fits: bool) -> None:
    exact = {"cached": 30 * 1024, "placements": ("CacheDisk",)}
    found = disk(body(size=exact, disk_size=30, trusted_launch=trusted))
    assert ("diffDiskSettings" in found) is fits


def test_a_limit_of_the_price_is_told_in_dollars_or_not_at_all() -> None:
    found = body(replace(REQUEST, spot=True, max_price=0.05), currency="EUR")
    assert found["properties"]["billingProfile"] == {"maxPrice": -1}


def test_a_spot_machine_is_deleted_when_it_is_evicted() -> None:
    properties = body(replace(REQUEST, spot=True))["properties"]
    assert (properties["priority"], properties["evictionPolicy"]) == ("Spot", "Delete")
    assert properties["billingProfile"] == {"maxPrice": -1}


def test_a_spot_machine_that_can_sleep_is_deallocated_when_it_is_evicted() -> None:
    wanted = replace(REQUEST, spot=True, max_price=0.05, suspendable=True)
    properties = body(wanted)["properties"]
    assert properties["evictionPolicy"] == "Deallocate"
    assert properties["billingProfile"] == {"maxPrice": 0.05}


def test_a_limit_of_the_price_means_nothing_without_spot() -> None:
    assert "billingProfile" not in body(replace(REQUEST, max_price=0.05))["properties"]


def test_hibernation_excludes_trusted_launch() -> None:
    sleeper = replace(REQUEST, suspendable=True)
    properties = body(sleeper, hibernate=True)["properties"]
    assert properties["additionalCapabilities"] == {"hibernationEnabled": True}
    assert "securityProfile" not in properties


@pytest.mark.parametrize(
    ("request_", "size"),
    [
        (REQUEST, {}),
        (replace(REQUEST, suspendable=True), {"hibernation": False}),
        (replace(REQUEST, suspendable=True, spot=True), {}),
    ],
)
def test_only_what_can_hibernate_does(request_: PartitionRequest, size: dict[str, Any]) -> None:
    assert "additionalCapabilities" not in body(request_, size=size, hibernate=True)["properties"]


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (Variant(URN, generation=1), {}),
        (Variant({"id": f"{GROUP}/providers/Microsoft.Compute/images/x"}, generation=2), {}),
        (Variant(URN, generation=2), {"trusted_launch": False}),
    ],
)
def test_trusted_launch_needs_size_and_image(image: Variant, size: dict[str, Any]) -> None:
    properties = body(machine=replace(MACHINE, image=image), size=size)["properties"]
    assert "securityProfile" not in properties


def test_drivers_of_gpus_need_an_open_boot() -> None:
    profile = body(size={"gpus": 1})["properties"]["securityProfile"]
    assert profile["uefiSettings"] == {"secureBootEnabled": False, "vTpmEnabled": True}


def test_a_public_address_is_made_and_removed_with_the_machine() -> None:
    profile = body(public_ip=True)["properties"]["networkProfile"]
    (interface,) = profile["networkInterfaceConfigurations"]
    (address,) = interface["properties"]["ipConfigurations"]
    wanted = address["properties"]["publicIPAddressConfiguration"]
    assert (wanted["name"], wanted["tags"]) == ("sp-1-ip", TAGS)
    assert wanted["properties"]["deleteOption"] == "Delete"


def test_a_subnet_of_the_admins_is_used() -> None:
    profile = body(subnets={"West Europe": "/subnet"})["properties"]["networkProfile"]
    (interface,) = profile["networkInterfaceConfigurations"]
    (address,) = interface["properties"]["ipConfigurations"]
    assert address["properties"]["subnet"] == {"id": "/subnet"}


def test_options_that_are_off_are_left_out() -> None:
    made = body(trusted_launch=False, boot_diagnostics=False, accelerated_networking=False)
    assert "securityProfile" not in made["properties"]
    assert "diagnosticsProfile" not in made["properties"]
    (interface,) = made["properties"]["networkProfile"]["networkInterfaceConfigurations"]
    assert interface["properties"]["enableAcceleratedNetworking"] is False
    assert "zones" not in made
    assert "identity" not in made


def test_an_identity_and_a_plan_are_handed_on() -> None:
    plan = {"name": "n", "product": "o", "publisher": "p"}
    paid = replace(MACHINE, image=Variant(URN, generation=2, plan=plan))
    made = body(machine=paid, identity=f"{GROUP}/identities/jobs")
    assert made["plan"] == plan
    assert made["identity"] == {
        "type": "UserAssigned",
        "userAssignedIdentities": {f"{GROUP}/identities/jobs": {}},
    }


def test_a_size_that_only_has_nvme_says_so() -> None:
    storage = body(size={"controllers": ("NVMe",)})["properties"]["storageProfile"]
    assert storage["diskControllerType"] == "NVMe"
    assert "diskControllerType" not in body()["properties"]["storageProfile"]


def test_a_placement_group_is_added() -> None:
    made = body()
    place(made, "/group")
    assert made["properties"]["proximityPlacementGroup"] == {"id": "/group"}
    assert unknown(made, sdk.VirtualMachine, "") == []


def test_the_check_of_a_body_finds_what_is_wrong() -> None:
    wrong: list[Any] = [{"location": "here", "zonez": []}, {"location": 7}, {"tags": {}}]
    assert [unknown(each, sdk.VirtualMachine, "") for each in wrong] == [
        [".zonez"],
        [".location is 7"],
        [".location is missing"],
    ]
