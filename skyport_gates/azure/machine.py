"""The body of the request that makes a machine. Pure: no I/O.

One PUT makes the machine with its disk, network interface and public address, and all of these
go with it again (``deleteOption``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..gate import InvalidRequest, PartitionRequest
from .images import Variant
from .names import address_name, disk_name, nic_name
from .settings import AzureSettings
from .skus import Size

ADMIN = "skyport"
"""Login that Azure insists on. Its key is nobody's; the image's cloud-init decides on users."""

NETWORK_API = "2022-11-01"
"""Version of the network interface's part of the body."""


@dataclass(frozen=True)
class Machine:
    """What one machine of a partition is made of.

    Attributes
    ----------
    name
        Its name in Azure.
    size, image
        Its size in its region, and what it boots.
    custom_data
        What cloud-init gets, base64.
    admin_key
        A public key (one line) for the login that Azure insists on.
    tags
        Written on the machine and on all that belongs to it.
    """

    name: str
    size: Size
    image: Variant
    custom_data: str
    admin_key: str
    tags: Mapping[str, str]


def vm_body(request: PartitionRequest, settings: AzureSettings, machine: Machine) -> dict[str, Any]:
    """The body of ``PUT …/virtualMachines/{name}``.

    Raises InvalidRequest when the system disk is to be ephemeral and the size has no room for it.
    """
    size = machine.size
    sleeps = _hibernates(request, settings, machine)
    properties: dict[str, Any] = {
        "hardwareProfile": {"vmSize": size.name},
        "storageProfile": _storage(request, settings, machine),
        "osProfile": _os(machine),
        "networkProfile": {
            "networkApiVersion": NETWORK_API,
            "networkInterfaceConfigurations": [_interface(request, settings, machine)],
        },
        **_price(request, settings),
    }
    if sleeps:
        properties["additionalCapabilities"] = {"hibernationEnabled": True}
    elif _trusted(settings, machine):
        properties["securityProfile"] = _security(size)
    if settings.boot_diagnostics:
        properties["diagnosticsProfile"] = {"bootDiagnostics": {"enabled": True}}
    body: dict[str, Any] = {
        "location": request.region,
        "tags": dict(machine.tags),
        "properties": properties,
    }
    if request.zone:
        body["zones"] = [request.zone]
    if machine.image.plan:
        body["plan"] = dict(machine.image.plan)
    if settings.identity:
        body["identity"] = {
            "type": "UserAssigned",
            "userAssignedIdentities": {settings.identity: {}},
        }
    return body


def place(body: dict[str, Any], group: str) -> None:
    """Put a machine in a proximity placement group, by its resource id."""
    body["properties"]["proximityPlacementGroup"] = {"id": group}


def _hibernates(request: PartitionRequest, settings: AzureSettings, machine: Machine) -> bool:
    """Azure hibernates neither spot machines nor, with Linux, those of trusted launch."""
    wanted = settings.hibernate and request.suspendable
    return wanted and machine.size.hibernation and not request.spot


def _signed(image: Variant) -> bool:
    """Whether an image can be trusted to boot securely: what galleries hold does not tell."""
    return image.generation == 2 and "publisher" in image.reference


def _trusted(settings: AzureSettings, machine: Machine) -> bool:
    """Whether a machine that does not hibernate gets trusted launch."""
    return settings.trusted_launch and machine.size.trusted_launch and _signed(machine.image)


def _price(request: PartitionRequest, settings: AzureSettings) -> dict[str, Any]:
    if not request.spot:
        return {}
    # Azure takes it in US dollars only; the core compares its own limit with the offer's price.
    limited = request.max_price is not None and settings.currency == "USD"
    return {
        "priority": "Spot",
        "evictionPolicy": "Deallocate" if request.suspendable else "Delete",
        "billingProfile": {"maxPrice": request.max_price if limited else -1},
    }


def _security(size: Size) -> dict[str, Any]:
    # Drivers of GPUs are built on the machine; secure boot would not load them.
    uefi = {"secureBootEnabled": not size.gpus, "vTpmEnabled": True}
    return {"securityType": "TrustedLaunch", "uefiSettings": uefi}


def _storage(
    request: PartitionRequest, settings: AzureSettings, machine: Machine
) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "name": disk_name(machine.name),
        "createOption": "FromImage",
        "deleteOption": "Delete",
        "diskSizeGB": settings.disk_size,
    }
    placement = ephemeral_placement(request, settings, machine)
    if placement is not None:
        disk["caching"] = "ReadOnly"
        disk["diffDiskSettings"] = {"option": "Local", "placement": placement}
        disk["managedDisk"] = {"storageAccountType": "Standard_LRS"}
    else:
        disk["caching"] = "ReadWrite"
        disk["managedDisk"] = {"storageAccountType": disk_type(settings, machine.size)}
    storage: dict[str, Any] = {"imageReference": dict(machine.image.reference), "osDisk": disk}
    if [name.lower() for name in machine.size.controllers] == ["nvme"]:
        storage["diskControllerType"] = "NVMe"
    return storage


def ephemeral_placement(
    request: PartitionRequest, settings: AzureSettings, machine: Machine
) -> str | None:
    """Where on the host the system disk is put; None: it is a managed disk."""
    if settings.disk == "managed" or request.suspendable:
        return None
    size, trusted = machine.size, _trusted(settings, machine)
    placement = size.ephemeral_placement(settings.disk_size, trusted_launch=trusted)
    if placement is None and settings.disk == "ephemeral":
        raise InvalidRequest(
            f"{size.name} has no room for an ephemeral disk of {settings.disk_size} GiB.",
            hint="Ask for another size, or have an admin set c.AzureGate.disk to 'auto'.",
        )
    return placement


def disk_type(settings: AzureSettings, size: Size) -> str:
    """The kind of managed system disk that a size can have."""
    wanted = str(settings.disk_type)
    if wanted.lower().startswith("premium") and not size.premium_disk:
        return "StandardSSD_LRS"
    return wanted


def _os(machine: Machine) -> dict[str, Any]:
    key = {"path": f"/home/{ADMIN}/.ssh/authorized_keys", "keyData": machine.admin_key}
    return {
        "computerName": machine.name,
        "adminUsername": ADMIN,
        "customData": machine.custom_data,
        "allowExtensionOperations": False,
        "linuxConfiguration": {
            "disablePasswordAuthentication": True,
            "provisionVMAgent": True,
            "ssh": {"publicKeys": [key]},
        },
    }


def _interface(
    request: PartitionRequest, settings: AzureSettings, machine: Machine
) -> dict[str, Any]:
    address: dict[str, Any] = {
        "primary": True,
        "subnet": {"id": settings.subnet_id(request.region)},
        "privateIPAddressVersion": "IPv4",
    }
    if settings.public_ip:
        address["publicIPAddressConfiguration"] = {
            "name": address_name(machine.name),
            "sku": {"name": "Standard", "tier": "Regional"},
            "tags": dict(machine.tags),
            "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
        }
    fast = settings.accelerated_networking and machine.size.accelerated_networking
    return {
        "name": nic_name(machine.name),
        "tags": dict(machine.tags),
        "properties": {
            "primary": True,
            "deleteOption": "Delete",
            "enableAcceleratedNetworking": fast,
            "ipConfigurations": [{"name": "primary", "properties": address}],
        },
    }
