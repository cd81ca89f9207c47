"""The endpoint takes the official examples and answers as the published descriptions say."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.infra.arm.clients import vm_request
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.examples import REGIONS, Stage, catalog, example, names, operation, spec
from tests.infra.arm.raw import RawClient
from tests.infra.data import needs_azure_data

pytestmark = needs_azure_data

LATER = frozenset(
    {
        "architecture",
        "etag",
        "features",
        "imageDeprecationStatus",
        "kind",
        "sizeInGb",
        "timeCreated",
    }
)
"""Fields that Azure shows today and that the descriptions of 2021 do not know."""

NULLS = "null in a field that the description does not let be null"
TEXT = "text where the description wants an object"
TYPO = "a value that is none of the listed ones"
MISFITS = {
    "GetVirtualMachineInstanceView": NULLS,
    "VirtualMachineAssessPatches": NULLS,
    "VirtualMachineInstallPatches": NULLS,
    "GetVirtualMachineScaleSetVMInstanceViewAutoPlacedOnDedicatedHostGroup": NULLS,
    "ListAvailableResourceSkus": NULLS,
    "ListAvailableResourceSkusForARegion": NULLS,
    "ListAvailableResourceSkusWithExtendedLocations": NULLS,
    "ApprovePrivateEndpointConnection": TYPO,
    "NetworkInterfaceTapConfigurationGet": TYPO,
    "NetworkInterfaceTapConfigurationCreate": TYPO,
    "NetworkInterfaceTapConfigurationList": TYPO,
    "PutDeploymentAtManagementGroup": NULLS,
    "PutDeploymentAtScope": NULLS,
    "PutDeploymentAtTenant": NULLS,
    "PostDeploymentWhatIfOnResourceGroup": TEXT,
    "PostDeploymentWhatIfOnSubscription": TEXT,
    "GetAGalleryImageVersionWithSnapshotsAsSource": TEXT,
}
"""Official examples that do not fit their own description."""

PREMIUM = ("InvalidParameter", "asks for a premium disk on a size that takes none")
REFUSED = {
    "CreateAVmWithPremiumStorage": PREMIUM,
    "CreateAWindowsVmWithPatchSettingModeOfAutomaticByOS": PREMIUM,
    "CreateAWindowsVmWithPatchSettingModesOfAutomaticByPlatform": PREMIUM,
    "CreateAWindowsVmWithPatchSettingModeOfManual": PREMIUM,
    "CreateAWindowsVmWithPatchSettingAssessmentModeOfImageDefault": PREMIUM,
    "CreateAWindowsVmWithPatchSettingModeOfAutomaticByPlatformAndEnableHotPatchingTrue": PREMIUM,
    "CreateAVmWithADiffOsDiskUsingDiffDiskPlacementAsResourceDisk": (
        "OperationNotAllowed",
        "its OS disk does not fit on the 7 GB of the size's resource disk",
    ),
    "CreateAVmWithNetworkInterfaceConfiguration": (
        "InvalidResourceReference",
        "its network configuration names no subnet",
    ),
}
"""Examples of virtual machines that cannot be carried out: the code and the reason."""

MACHINES = names("VirtualMachines_CreateOrUpdate", "VirtualMachines_Update")
OTHERS = names(
    "Disks_CreateOrUpdate",
    "Galleries_CreateOrUpdate",
    "GalleryImages_CreateOrUpdate",
    "GalleryImageVersions_CreateOrUpdate",
    "Images_CreateOrUpdate",
    "NetworkInterfaces_CreateOrUpdate",
    "NetworkSecurityGroups_CreateOrUpdate",
    "PublicIPAddresses_CreateOrUpdate",
    "ResourceGroups_CreateOrUpdate",
    "Subnets_CreateOrUpdate",
    "VirtualNetworks_CreateOrUpdate",
)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    """An endpoint with the regions and sizes that the examples use."""
    async with (
        ArmEndpoint(regions=REGIONS, sizes=catalog(), empty=True) as endpoint,
        RawClient(endpoint) as client,
    ):
        yield Stage(client)


def problems(method: str, path: str, status: int, body: Any) -> list[str]:
    """What of an answer is not as described."""
    about = spec().find(method, path)
    assert about is not None, f"{method} {path} is not described"
    return spec().problems(about, status, body, later=LATER)


def test_the_official_examples_fit_their_descriptions():
    misfits, count = set(), 0
    for about in spec().operations:
        for each in spec().examples(about):
            for status, response in each.responses.items():
                if "body" in response:
                    count += 1
                    if spec().problems(about, int(status), response["body"]):
                        misfits.add(each.name)
    assert count > 400
    assert misfits == set(MISFITS)


@pytest.mark.parametrize("name", [name for _, name in MACHINES])
def test_the_official_requests_fit_their_descriptions(name: str):
    about = next(operation_name for operation_name, each in MACHINES if each == name)
    body = example(about, name).parameters["parameters"]
    assert spec().request_problems(operation(about), body) == []


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda vm: vm.pop("location"), ".: 'location' is a required property"),
        (lambda vm: vm.update(zones="1"), "zones: '1' is not of type 'array'"),
        (lambda vm: vm.update(location=None), "location: None is not of type 'string'"),
        (lambda vm: vm.update(colour="red"), ".: unknown field colour"),
        (
            lambda vm: vm["properties"].update(priority="Sometimes"),
            "properties/priority: 'Sometimes' is not one of ['Regular', 'Low', 'Spot']",
        ),
        (
            lambda vm: vm["properties"]["storageProfile"]["osDisk"].update(diskSizeGB="30"),
            "properties/storageProfile/osDisk/diskSizeGB: '30' is not of type 'integer'",
        ),
    ],
)
def test_a_broken_answer_is_noticed(damage: Callable[[dict[str, Any]], Any], problem: str):
    good = example("VirtualMachines_Get", "GetVirtualMachineAutoPlacedOnDedicatedHostGroup")
    body = copy.deepcopy(good.responses["200"]["body"])
    about = operation("VirtualMachines_Get")
    assert spec().problems(about, 200, body) == []
    damage(body)
    assert spec().problems(about, 200, body) == [problem]


def test_a_status_that_is_not_described_is_noticed():
    assert spec().problems(operation("VirtualMachines_Get"), 202, {})


@pytest.mark.parametrize("name", [name for _, name in MACHINES if name not in REFUSED])
async def test_an_official_machine_is_accepted(stage: Stage, name: str):
    about = next(each for each, found in MACHINES if found == name)
    path, reply = await stage.play(about, name)
    assert reply.status in (200, 201), reply.body
    assert problems(operation(about).method, path, reply.status, reply.body) == []
    states = await stage.client.polled(reply)
    assert [each.body["status"] for each in states][-1:] == ["Succeeded"]
    machine = await stage.client("GET", path)
    assert problems("GET", path, machine.status, machine.body) == []
    view = await stage.client("GET", f"{path}/instanceView")
    assert problems("GET", f"{path}/instanceView", view.status, view.body) == []


@pytest.mark.parametrize("name", sorted(REFUSED))
async def test_an_official_machine_that_cannot_be_is_refused(stage: Stage, name: str):
    _, reply = await stage.play("VirtualMachines_CreateOrUpdate", name)
    assert reply.status in (400, 409)
    assert reply.code == REFUSED[name][0]


@pytest.mark.parametrize(("about", "name"), OTHERS)
async def test_another_official_resource_is_accepted(stage: Stage, about: str, name: str):
    path, reply = await stage.play(about, name)
    assert reply.status in (200, 201, 202), reply.body
    assert problems("PUT", path, reply.status, reply.body) == []
    await stage.client.polled(reply)
    shown = await stage.client("GET", path)
    assert problems("GET", path, shown.status, shown.body) == []


@pytest.fixture
async def furnished(raw: RawClient) -> RawClient:
    """A client of an endpoint with one machine that has everything."""
    arm = raw.endpoint.arm
    request = vm_request(arm, "one", diagnosticsProfile={"bootDiagnostics": {"enabled": True}})
    profile = request["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]
    address = {"name": "ip", "properties": {"deleteOption": "Delete"}}
    for each in profile["properties"]["ipConfigurations"]:
        each["properties"]["publicIPAddressConfiguration"] = address
    request["zones"] = ["1"]
    request["properties"] |= {"priority": "Spot", "evictionPolicy": "Delete"}
    path = arm.id("skyport", "Microsoft.Compute/virtualMachines", "one")
    reply = await raw("PUT", path, request)
    assert reply.status == 201, reply.body
    await raw.polled(reply)
    return raw


LISTS = [
    ("Microsoft.Compute/virtualMachines", {}),
    ("Microsoft.Compute/virtualMachines", {"$expand": "instanceView"}),
    ("Microsoft.Compute/disks", {}),
    ("Microsoft.Network/networkInterfaces", {}),
    ("Microsoft.Network/publicIPAddresses", {}),
    ("Microsoft.Network/virtualNetworks", {}),
    ("Microsoft.Network/networkSecurityGroups", {}),
]


@pytest.mark.parametrize(("kind", "query"), LISTS)
async def test_lists_and_their_members_are_as_described(
    furnished: RawClient, kind: str, query: dict[str, str]
):
    group = furnished.endpoint.arm.group_id("skyport")
    whole = furnished.endpoint.arm.subscription
    for path in (f"{group}/providers/{kind}", f"/subscriptions/{whole}/providers/{kind}"):
        reply = await furnished("GET", path, **query)
        assert reply.body["value"], path
        assert problems("GET", path, reply.status, reply.body) == []
    for each in reply.body["value"]:
        one = await furnished("GET", each["id"])
        assert problems("GET", each["id"], one.status, one.body) == []


async def test_how_all_machines_are_is_as_described(furnished: RawClient):
    kind = "providers/Microsoft.Compute/virtualMachines"
    path = f"/subscriptions/{furnished.endpoint.subscription}/{kind}"
    reply = await furnished("GET", path, statusOnly="true")
    assert reply.body["value"][0]["properties"]["instanceView"]["statuses"]
    assert problems("GET", path, reply.status, reply.body) == []


@pytest.mark.parametrize(
    "path",
    [
        "providers/Microsoft.Compute/skus",
        "providers/Microsoft.Compute/locations/westeurope/usages",
        "providers/Microsoft.Compute/locations/westeurope/vmSizes",
        "providers/Microsoft.Compute/locations/westeurope/publishers",
        "resourcegroups",
        "resources",
        "providers",
    ],
)
async def test_what_a_subscription_has_is_as_described(furnished: RawClient, path: str):
    path = f"/subscriptions/{furnished.endpoint.subscription}/{path}"
    reply = await furnished("GET", path)
    assert problems("GET", path, reply.status, reply.body) == []


async def test_an_image_version_is_as_described(furnished: RawClient):
    path = (
        f"/subscriptions/{furnished.endpoint.subscription}/providers/Microsoft.Compute"
        "/locations/westeurope/publishers/Debian/artifacttypes/vmimage/offers/debian-12"
    )
    version = f"{path}/skus/12-gen2/versions/latest"
    for place in (path.rsplit("/", 1)[0], f"{path}/skus", version.rsplit("/", 1)[0], version):
        reply = await furnished("GET", place)
        assert problems("GET", place, reply.status, reply.body) == []


@pytest.mark.parametrize("action", ["deallocate", "start", "powerOff", "restart", "redeploy"])
async def test_what_is_done_to_a_machine_is_answered_as_described(
    furnished: RawClient, action: str
):
    path = furnished.endpoint.arm.vm("one").id + f"/{action}"
    reply = await furnished("POST", path)
    assert problems("POST", path, reply.status, reply.body) == []
    assert (await furnished.polled(reply))[-1].body["status"] == "Succeeded"


async def test_the_end_of_a_machine_is_answered_as_described(furnished: RawClient):
    path = furnished.endpoint.arm.vm("one").id
    reply = await furnished("DELETE", path)
    assert problems("DELETE", path, reply.status, reply.body) == []
    await furnished.polled(reply)
    assert furnished.endpoint.arm.leftovers() == []
    assert (await furnished("DELETE", path)).status == 204


async def test_errors_are_as_described(furnished: RawClient):
    path = furnished.endpoint.arm.vm("one").id
    reply = await furnished("GET", f"{path}-else")
    assert reply.status == 404
    error = spec().check(
        operation("Disks_Get").file.replace("disk.json", "compute.json"),
        {"$ref": "#/definitions/ApiError"},
        reply.body["error"],
    )
    assert error == []
