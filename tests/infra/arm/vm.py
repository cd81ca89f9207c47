"""The bodies of virtual machines: what of a request Azure shows again, and the instance view."""

from __future__ import annotations

import base64
import copy
import uuid
from typing import Any

from tests.infra.arm.backends import Machine
from tests.infra.arm.sizes import capability
from tests.infra.arm.state import Arm, Resource

_SECRETS = ("customData", "adminPassword")
POWER = {
    "starting": "VM starting",
    "running": "VM running",
    "stopping": "VM stopping",
    "stopped": "VM stopped",
    "deallocating": "VM deallocating",
    "deallocated": "VM deallocated",
}


def shown(arm: Arm, name: str, request: dict[str, Any], old: Resource | None) -> dict[str, Any]:
    """What Azure shows of a PUT: defaults filled in, secrets left out.

    Parameters
    ----------
    arm, name
        The endpoint's state and the VM's name.
    request
        The body of the PUT.
    old
        The VM that it updates; None for a new one.
    """
    properties: dict[str, Any] = copy.deepcopy(request.get("properties") or {})
    properties.pop("userData", None)
    network = properties.get("networkProfile") or {}
    network.pop("networkInterfaceConfigurations", None)
    network.pop("networkApiVersion", None)
    known = old.properties if old is not None else {}
    properties["vmId"] = known.get("vmId") or str(uuid.uuid4())
    properties["timeCreated"] = known.get("timeCreated") or arm.clock.stamp()
    properties["provisioningState"] = "Creating" if old is None else "Updating"
    _storage(arm, properties.setdefault("storageProfile", {}))
    if "osProfile" in properties:
        _os_profile(properties["osProfile"], name)
    body = {
        "name": name,
        "id": "",
        "type": "Microsoft.Compute/virtualMachines",
        "location": request["location"].replace(" ", "").lower(),
        "properties": properties,
    }
    for key in ("tags", "zones", "plan", "extendedLocation"):
        if request.get(key):
            body[key] = copy.deepcopy(request[key])
    if request.get("identity"):
        body["identity"] = _identity(arm, request["identity"])
    return body


def _storage(arm: Arm, storage: dict[str, Any]) -> None:
    image = storage.get("imageReference")
    if image and image.get("publisher"):
        image.setdefault("version", "latest")
        image["exactVersion"] = arm.images.resolve(arm, image).versions[-1]
    disk = storage.setdefault("osDisk", {"createOption": "FromImage"})
    disk.setdefault("osType", "Linux")
    disk.setdefault("caching", "ReadWrite")
    disk.setdefault("deleteOption", "Detach")
    disk.setdefault("diskSizeGB", 30)
    if "diffDiskSettings" not in disk:
        disk.setdefault("managedDisk", {}).setdefault("storageAccountType", "Premium_LRS")
    for data in storage.setdefault("dataDisks", []):
        data.setdefault("deleteOption", "Detach")
        data.setdefault("toBeDetached", False)
        data.setdefault("caching", "None")
        data.setdefault("managedDisk", {}).setdefault("storageAccountType", "Premium_LRS")


def _os_profile(profile: dict[str, Any], name: str) -> None:
    for secret in _SECRETS:
        profile.pop(secret, None)
    profile.setdefault("computerName", name)
    profile.setdefault("secrets", [])
    profile.setdefault("allowExtensionOperations", True)
    profile.setdefault("requireGuestProvisionSignal", True)
    if "windowsConfiguration" not in profile:
        linux = profile.setdefault("linuxConfiguration", {})
        linux.setdefault("disablePasswordAuthentication", False)
        linux.setdefault("provisionVMAgent", True)
        linux.setdefault(
            "patchSettings", {"patchMode": "ImageDefault", "assessmentMode": "ImageDefault"}
        )


def _identity(arm: Arm, wanted: dict[str, Any]) -> dict[str, Any]:
    identity: dict[str, Any] = {"type": wanted.get("type", "None")}
    if "SystemAssigned" in identity["type"]:
        identity |= {"principalId": str(uuid.uuid4()), "tenantId": arm.tenant_id}
    if wanted.get("userAssignedIdentities"):
        identity["userAssignedIdentities"] = {
            each: _assigned(arm, each) for each in wanted["userAssignedIdentities"]
        }
    return identity


def _assigned(arm: Arm, resource_id: str) -> dict[str, str]:
    resource = arm.resources.get(resource_id)
    known = resource.properties if resource is not None else {}
    return {
        key: known.get(key) or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{key}{resource_id.lower()}"))
        for key in ("principalId", "clientId")
    }


def machine_of(body: dict[str, Any], request: dict[str, Any], group: str) -> Machine:
    """The machine that a request asks for; ``body`` is what Azure shows of it."""
    properties = request["properties"]
    profile = properties.get("osProfile") or {}
    ssh = (profile.get("linuxConfiguration") or {}).get("ssh") or {}
    return Machine(
        name=body["name"],
        id=body["id"],
        vm_id=body["properties"]["vmId"],
        location=body["location"],
        zone=(body.get("zones") or [""])[0],
        group=group,
        size=properties["hardwareProfile"]["vmSize"],
        custom_data=base64.b64decode(profile.get("customData") or ""),
        user_data=properties.get("userData") or "",
        admin_username=profile.get("adminUsername") or "",
        public_keys=[each["keyData"] for each in ssh.get("publicKeys") or ()],
        os_profile=copy.deepcopy(profile),
        properties=copy.deepcopy(properties),
        tags=dict(body.get("tags") or {}),
        identity=copy.deepcopy(body.get("identity")),
        spot=properties.get("priority") == "Spot",
    )


def cores_of(row: dict[str, Any]) -> int:
    """How many cores a ResourceSkus row has."""
    return int(capability(row, "vCPUs") or 1)


def quota_of(row: dict[str, Any], spot: bool) -> dict[str, int]:
    """What a VM of this ResourceSkus row counts for."""
    cores = cores_of(row)
    if spot:
        return {"lowPriorityCores": cores, "virtualMachines": 1}
    return {"cores": cores, row["family"]: cores, "virtualMachines": 1}


def is_ephemeral(body: dict[str, Any]) -> bool:
    """Whether a VM's system disk is on local storage."""
    disk = body["properties"].get("storageProfile", {}).get("osDisk", {})
    return bool((disk.get("diffDiskSettings") or {}).get("option"))


def instance_view(arm: Arm, vm: Resource) -> dict[str, Any]:
    """How a VM is: provisioning, power, agent."""
    power = vm.hidden.get("power")
    view: dict[str, Any] = {"statuses": [_provisioning(arm, vm)]}
    if vm.hidden.get("ready") and power == "running":
        profile = vm.properties.get("osProfile") or {}
        view["computerName"] = profile.get("computerName", vm.name)
        view["osName"], view["osVersion"] = "debian", "12"
        view["vmAgent"] = {
            "vmAgentVersion": "2.9.1.1",
            "statuses": [
                _status(
                    "ProvisioningState/succeeded", "Ready", arm, message="Guest Agent is running"
                )
            ],
            "extensionHandlers": [],
        }
    view["hyperVGeneration"] = "V2"
    view["disks"] = [
        {"name": name, "statuses": [_status("ProvisioningState/succeeded", _DONE, arm)]}
        for name in vm.hidden.get("disk_names", ())
    ]
    diagnostics = (vm.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}
    if diagnostics.get("enabled"):
        view["bootDiagnostics"] = {}
    if vm.hidden.get("hibernated"):
        view["statuses"].append(
            {
                "code": "HibernationState/Hibernated",
                "level": "Info",
                "displayStatus": "VM hibernated",
            }
        )
    if power:
        view["statuses"].append(
            {"code": f"PowerState/{power}", "level": "Info", "displayStatus": POWER[power]}
        )
    return view


_DONE = "Provisioning succeeded"


def _provisioning(arm: Arm, vm: Resource) -> dict[str, Any]:
    state = str(vm.properties.get("provisioningState", "Succeeded"))
    error = vm.hidden.get("error")
    if state == "Failed" and error:
        code = f"ProvisioningState/failed/{error['code']}"
        status = _status(code, "Provisioning failed", arm, message=error["message"])
        return {**status, "level": "Error"}
    text = _DONE if state == "Succeeded" else state
    return _status(f"ProvisioningState/{state.lower()}", text, arm)


def _status(code: str, text: str, arm: Arm, *, message: str = "") -> dict[str, Any]:
    status = {"code": code, "level": "Info", "displayStatus": text, "time": arm.clock.stamp()}
    return {**status, "message": message} if message else status
