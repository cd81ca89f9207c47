"""Whether a size can be had for a virtual machine: where, with what, within which limits."""

from __future__ import annotations

from typing import Any

from tests.infra.arm.checks import bad_parameter
from tests.infra.arm.router import ArmError
from tests.infra.arm.sizes import capability
from tests.infra.arm.state import Arm
from tests.infra.arm.vm import is_ephemeral, quota_of

_PLACES = {"CacheDisk": "CachedDiskBytes", "ResourceDisk": "MaxResourceVolumeMB"}
_PLACES["NvmeDisk"] = "NvmeDiskSizeInMiB"


def check_size(arm: Arm, name: str, request: dict[str, Any]) -> dict[str, Any]:
    """The ResourceSkus row of the size that a request asks for, when it may have it."""
    region = request["location"].replace(" ", "").lower()
    properties = request["properties"]
    size = (properties.get("hardwareProfile") or {}).get("vmSize") or ""
    row = arm.sizes.sku(region, size)
    if row is None:
        raise bad_parameter(
            f"The value {size} provided for the VM size is not valid. The valid sizes in the "
            "current region are: Standard_B1ls,Standard_B1s,Standard_D2s_v5.",
            "vmSize",
        )
    zones = [str(zone) for zone in request.get("zones") or ()]
    _check_zones(row, region, name, zones)
    _check_restrictions(row, region, zones)
    _check_spot(arm, row, region, properties)
    _check_disks(row, properties)
    _check_image(arm, row, request)
    _check_network(row, properties)
    return row


def _check_zones(row: dict[str, Any], region: str, name: str, zones: list[str]) -> None:
    info: dict[str, Any] = next(iter(row.get("locationInfo") or ()), {})
    missing = [zone for zone in zones if zone not in (info.get("zones") or ())]
    if missing:
        raise ArmError(
            400,
            "AvailabilityZoneNotSupported",
            f"The zone(s) '{','.join(missing)}' for resource "
            f"'Microsoft.Compute/virtualMachines/{name}' is not supported. The supported zones for "
            f"location '{region}' are '{','.join(info.get('zones') or ())}'",
        )


def _check_restrictions(row: dict[str, Any], region: str, zones: list[str]) -> None:
    for each in row.get("restrictions") or ():
        closed = (each.get("restrictionInfo") or {}).get("zones") or []
        if each["type"] == "Location" or (zones and set(zones) & set(closed)):
            raise sku_not_available(row["name"], region, zones)


def sku_not_available(size: str, region: str, zones: list[str] | None = None) -> ArmError:
    """SkuNotAvailable."""
    where = f"zones '{','.join(zones)}' in location '{region}'" if zones else f"location '{region}'"
    return ArmError(
        409,
        "SkuNotAvailable",
        "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: "
        f"{size}' is currently not available in {where}. Please try another size or deploy to a "
        "different location or different zone. See https://aka.ms/azureskunotavailable for "
        "details.",
    )


def _check_spot(arm: Arm, row: dict[str, Any], region: str, properties: dict[str, Any]) -> None:
    highest = (properties.get("billingProfile") or {}).get("maxPrice")
    if properties.get("priority") != "Spot":
        if properties.get("evictionPolicy"):
            raise bad_parameter(
                "Eviction policy can be set only on Azure Spot Virtual Machines.", "evictionPolicy"
            )
        if highest is not None:
            raise bad_parameter(
                "Max price can be set only on Azure Spot Virtual Machines.", "billingProfile"
            )
        return
    if capability(row, "LowPriorityCapable") != "True":
        raise ArmError(
            400,
            "OperationNotAllowed",
            f"The VM size '{row['name']}' is not supported for Azure Spot Virtual Machines.",
        )
    price = arm.prices.spot(region, row["name"])
    if highest is not None and highest != -1 and price is not None and highest < price:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Unable to perform operation since the provided max price '{highest} USD' is lower "
            f"than the current spot price '{price} USD' for Azure Spot VM size '{row['name']}'. "
            "For more information, see http://aka.ms/AzureSpot/errormessages",
        )


def _check_image(arm: Arm, row: dict[str, Any], request: dict[str, Any]) -> None:
    reference = (request["properties"].get("storageProfile") or {}).get("imageReference")
    if not reference:
        return
    image = arm.images.resolve(arm, {"version": "latest", **reference})
    arm.images.require_plan(image, request.get("plan"))
    built = capability(row, "CpuArchitectureType") or "x64"
    if image.architecture != built:
        raise ArmError(
            400,
            "BadRequest",
            f"Cannot create a VM of size '{row['name']}' because this VM size only supports a CPU "
            f"Architecture of '{built}', but an image or disk with CPU Architecture "
            f"'{image.architecture}' was given. Please check that the CPU Architecture of the "
            "image or disk is compatible with that of the VM size.",
        )
    if image.generation not in (capability(row, "HyperVGenerations") or "V1,V2").split(","):
        raise ArmError(
            400,
            "BadRequest",
            f"The selected VM size '{row['name']}' cannot boot Hypervisor Generation "
            f"'{image.generation[1:]}'. If this was a Create operation please check that the "
            "Hypervisor Generation of the Image matches the Hypervisor Generation of the selected "
            "VM Size. If this was an Update operation please select a Hypervisor Generation "
            f"'{image.generation[1:]}' VM Size. For more information, see https://aka.ms/azuregen2vm",
        )
    security = request["properties"].get("securityProfile") or {}
    if security.get("securityType") == "TrustedLaunch" and (
        image.generation == "V1" or capability(row, "TrustedLaunchDisabled") == "True"
    ):
        raise ArmError(
            400,
            "BadRequest",
            "Use of TrustedLaunch setting is not supported for the provided image. Please select "
            "Trusted Launch Supported Gen2 OS Image. For more information, see "
            "https://aka.ms/TrustedLaunch-FAQ.",
        )


def _check_network(row: dict[str, Any], properties: dict[str, Any]) -> None:
    profile = properties.get("networkProfile") or {}
    wanted = any(
        each["properties"].get("enableAcceleratedNetworking")
        for each in profile.get("networkInterfaceConfigurations") or ()
    )
    if wanted and capability(row, "AcceleratedNetworkingEnabled") != "True":
        raise ArmError(
            400,
            "VMSizeIsNotPermittedToEnableAcceleratedNetworking",
            f"The virtual machine size {row['name']} is not permitted to enable accelerated "
            "networking. For more information, see https://aka.ms/acceleratednetworking.",
        )


def _check_disks(row: dict[str, Any], properties: dict[str, Any]) -> None:
    storage = properties.get("storageProfile") or {}
    disk = storage.get("osDisk") or {}
    if is_ephemeral({"properties": properties}):
        _check_ephemeral(row, properties, disk)
    hibernates = (properties.get("additionalCapabilities") or {}).get("hibernationEnabled")
    if hibernates and capability(row, "HibernationSupported") != "True":
        raise ArmError(
            400,
            "OperationNotAllowed",
            f"The requested VM size {row['name']} does not support hibernation.",
        )
    premium = capability(row, "PremiumIO") == "True"
    for each in (disk, *(storage.get("dataDisks") or ())):
        kind = (each.get("managedDisk") or {}).get("storageAccountType", "")
        if kind.startswith("Premium") and not premium:
            raise bad_parameter(
                "Requested operation cannot be performed because the VM size "
                f"{row['name']} does not support the storage account type {kind} of disk "
                f"'{each.get('name', 'osdisk')}'. Consider updating the VM to a size that supports "
                "Premium storage.",
                "osDisk.managedDisk.storageAccountType",
            )


def _check_ephemeral(row: dict[str, Any], properties: dict[str, Any], disk: dict[str, Any]) -> None:
    if capability(row, "EphemeralOSDiskSupported") != "True":
        raise ArmError(
            400,
            "NotSupported",
            f"Ephemeral OS disk is not supported for VM size {row['name']}.",
        )
    if disk.get("caching") != "ReadOnly":
        raise bad_parameter(
            "Ephemeral OS disk supports caching mode 'ReadOnly' only.", "osDisk.caching"
        )
    if properties.get("evictionPolicy") == "Deallocate":
        raise bad_parameter(
            "Eviction policy 'Deallocate' is not supported with an Ephemeral OS disk.",
            "evictionPolicy",
        )
    place = disk["diffDiskSettings"].get("placement", "CacheDisk")
    if place not in _PLACES:
        raise bad_parameter(f"The placement '{place}' is not valid.", "diffDiskSettings.placement")
    amount = float(capability(row, _PLACES[place]) or 0)
    gib = amount / 1024**3 if place == "CacheDisk" else amount / 1024
    wanted = disk.get("diskSizeGB") or 30
    if wanted > gib:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"OS disk of Ephemeral VM with size greater than {gib:.0f} GB is not allowed for VM "
            f"size {row['name']} when the DiffDiskPlacement is {place}.",
        )


def check_quota(
    arm: Arm, row: dict[str, Any], region: str, spot: bool, held: dict[str, int]
) -> None:
    """Whether the limits allow a VM; ``held`` is what it already counts for."""
    wanted = {name: amount - held.get(name, 0) for name, amount in quota_of(row, spot).items()}
    short = arm.quotas.lacking(region, {name: n for name, n in wanted.items() if n > 0})
    if short is not None:
        raise quota_exceeded(arm, region, short, wanted[short])


def quota_exceeded(arm: Arm, region: str, name: str, wanted: int) -> ArmError:
    """OperationNotAllowed for a counter that is at its limit."""
    limit, used = arm.quotas.limit(region, name), arm.quotas.used(region, name)
    title = {
        "cores": "Total Regional Cores",
        "lowPriorityCores": "LowPriorityCores",
        "virtualMachines": "Virtual Machines",
    }.get(name, f"{name} Cores")
    return ArmError(
        409,
        "OperationNotAllowed",
        f"Operation could not be completed as it results in exceeding approved {title} quota. "
        f"Additional details - Deployment Model: Resource Manager, Location: {region}, Current "
        f"Limit: {limit}, Current Usage: {used}, Additional Required: {wanted}, (Minimum) New "
        f"Limit Required: {used + wanted}. Setup Alerts when Quota reaches threshold. Learn more "
        "at https://aka.ms/quotamonitoringalerting . Submit a request for Quota increase at "
        "https://aka.ms/ProdportalCRP/#blade/Microsoft_Azure_Capacity/UsageAndQuota.ReactView by "
        "specifying parameters listed in the 'Details' section for deployment to succeed. Please "
        "read more about quota limits at "
        "https://docs.microsoft.com/en-us/azure/azure-supportability/per-vm-quota-requests",
    )
