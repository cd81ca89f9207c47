"""Official examples made fit for an endpoint: names filled in, and what they name made."""

from __future__ import annotations

import copy
import functools
import json
import re
from typing import Any

from tests.infra.arm.catalog import Catalog
from tests.infra.arm.images import PlatformImage
from tests.infra.arm.raw import RawClient, Reply
from tests.infra.arm.state import Arm
from tests.infra.arm.swagger import ARCHIVE, Example, Operation, Spec
from tests.infra.data import AZURE_DATA

REGIONS = ("westus", "eastus", "eastus2", "eastus2euap")
_IMAGES = (
    PlatformImage(
        "MicrosoftWindowsServer", "WindowsServer", "2016-Datacenter", os="Windows", generation="V1"
    ),
    PlatformImage(
        "MicrosoftWindowsServer", "WindowsServer", "2019-Datacenter", os="Windows", generation="V1"
    ),
    PlatformImage(
        "MicrosoftWindowsServer",
        "windowsserver-gen2preview-preview",
        "windows10-tvm",
        ("18363.592.2001092016",),
        os="Windows",
    ),
    PlatformImage(
        "microsoft-ads",
        "windows-data-science-vm",
        "windows2016",
        os="Windows",
        generation="V1",
        plan=True,
    ),
    PlatformImage("image_publisher", "image_offer", "image_sku", os="Windows", generation="V1"),
)
_NETWORK = "Microsoft.Network"
_SUBNET = {"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}
_VNET: dict[str, Any] = {
    "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": [_SUBNET]}
}


@functools.lru_cache(maxsize=1)
def spec() -> Spec:
    """The published descriptions."""
    return Spec(AZURE_DATA / ARCHIVE)


@functools.lru_cache(maxsize=1)
def catalog() -> Catalog:
    """The sizes of the examples' days, and the hibernation that one of them asks for."""
    recorded = Catalog.recorded(AZURE_DATA)
    row = recorded.sku("eastus2euap", "Standard_D2s_v3")
    assert row is not None
    row["capabilities"].append({"name": "HibernationSupported", "value": "True"})
    return recorded


def operation(name: str) -> Operation:
    """A described operation by its id, "VirtualMachines_CreateOrUpdate"."""
    return next(each for each in spec().operations if each.id == name)


def names(*operations: str) -> list[tuple[str, str]]:
    """(operation, example) of all examples of some operations; none without the data."""
    if not AZURE_DATA.is_dir():
        return []
    found = []
    for name in operations:
        found += [(name, each.name) for each in spec().examples(operation(name))]
    return list(dict.fromkeys(found))


def example(operation_name: str, name: str) -> Example:
    """One example."""
    found = spec().examples(operation(operation_name))
    return next(each for each in found if each.name == name)


class Stage:
    """An endpoint on which examples are played.

    Parameters
    ----------
    client
        Of an endpoint with :data:`REGIONS` and :func:`catalog`.
    """

    def __init__(self, client: RawClient) -> None:
        self.client = client
        self.arm: Arm = client.endpoint.arm
        self.arm.images.platform += _IMAGES
        self.arm.images.accepted.add(("microsoft-ads", "windows-data-science-vm", "windows2016"))
        shared = (
            "/SharedGalleries/sharedGalleryName/Images/sharedGalleryImageName"
            "/Versions/sharedGalleryImageVersionName"
        )
        self.arm.images.shared[shared.lower()] = _IMAGES[0]

    def fill(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Parameters of an example for this subscription, with its ``{placeholders}`` named."""
        text = json.dumps(parameters)
        text = re.sub(r"/subscriptions/[^/\"]+", f"/subscriptions/{self.arm.subscription}", text)
        filled = json.loads(re.sub(r"\{([A-Za-z][^{}\"]*)\}", r"\1", text))
        return {**filled, "subscriptionId": self.arm.subscription}

    async def play(self, operation_name: str, name: str) -> tuple[str, Reply]:
        """Make what an example names, send the example; its path and the answer."""
        about = operation(operation_name)
        parameters = self.fill(example(operation_name, name).parameters)
        path = re.sub(r"\{(\w+)\}", lambda match: str(parameters[match[1]]), about.path)
        body = next(each for each in parameters.values() if isinstance(each, dict))
        await self.make_group(str(parameters.get("resourceGroupName", "")), path)
        await self.prepare(path, body)
        if about.method == "PATCH":
            await self.require(path, "westus")
        return path, await self.client(about.method, path, body)

    async def make_group(self, group: str, path: str) -> None:
        """The resource group, unless it is what the example makes."""
        missing = self.arm.resources.get(self.arm.group_id(group)) is None
        if "/providers/" in path and missing:
            await self.client("PUT", self.arm.group_id(group), {"location": "westus"})

    async def prepare(self, path: str, body: dict[str, Any]) -> None:
        """What a body refers to, and what its path is below."""
        location = body.get("location", "westus")
        for each in dict.fromkeys([*_parents(path), *_references(body)]):
            await self.require(each, location)

    async def require(self, wanted: str, location: str) -> None:
        """Make one resource that examples name, when the endpoint knows its type."""
        kind = wanted.rsplit("/providers/", 1)[-1].split("/")
        type_ = "/".join([kind[0], *kind[1::2]])
        if self.arm.resources.get(wanted) is not None:
            return
        await self.make_group(wanted.split("/")[4], wanted)
        if type_ == f"{_NETWORK}/virtualNetworks/subnets":
            vnet = {**copy.deepcopy(_VNET), "location": location}
            vnet["properties"]["subnets"][0]["name"] = kind[-1]
            await self.make(wanted.rsplit("/subnets/", 1)[0], vnet)
        elif type_ == f"{_NETWORK}/virtualNetworks":
            space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
            await self.make(wanted, {"location": location, "properties": space})
        elif type_ == f"{_NETWORK}/networkInterfaces":
            subnet = wanted.replace("networkInterfaces", "virtualNetworks") + "/subnets/default"
            await self.require(subnet, location)
            configuration = {"name": "ip", "properties": {"subnet": {"id": subnet}}}
            properties = {"ipConfigurations": [configuration]}
            await self.make(wanted, {"location": location, "properties": properties})
        elif type_ in (f"{_NETWORK}/publicIPAddresses", f"{_NETWORK}/networkSecurityGroups"):
            await self.make(wanted, {"location": location})
        elif type_.startswith("Microsoft.Compute/galleries"):
            if "/images" in type_:
                await self.require(wanted.rsplit("/", 2)[0], location)
            facts = {"osType": "Windows", "hyperVGeneration": "V1"}
            await self.make(wanted, {"location": location, "properties": facts})
            if type_.endswith("/images"):
                await self.make(f"{wanted}/versions/1.0.0", {"location": location})
        elif type_ == "Microsoft.Compute/images":
            storage = {"storageProfile": {"osDisk": {"osType": "Windows"}}}
            await self.make(wanted, {"location": location, "properties": storage})
        elif type_ == "Microsoft.Compute/virtualMachines":
            made = example("VirtualMachines_CreateOrUpdate", "CreateAVmWithEmptyDataDisks")
            request = self.fill(made.parameters)["parameters"]
            await self.prepare(wanted, request)
            await self.make(wanted, request)

    async def make(self, path: str, body: dict[str, Any]) -> None:
        """Make a resource and wait for it."""
        reply = await self.client("PUT", path, body)
        assert reply.status < 300, (path, reply.body)
        await self.client.polled(reply)


def _parents(path: str) -> list[str]:
    """Ids above a resource in its path."""
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(9, len(parts), 2)]


def _references(body: Any) -> list[str]:
    """Ids that a body names."""
    return re.findall(r'"id": "(/subscriptions/[^"]+)"', json.dumps(body))
