"""Managed disks: those of virtual machines and others."""

from __future__ import annotations

import uuid
from typing import Any

from tests.infra.arm.router import Answer, ArmError, Call, Router, page
from tests.infra.arm.state import DISK, Arm, Resource
from tests.infra.arm.vm import is_ephemeral

GROUP = "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.Compute"
ONE = f"{GROUP}/disks/{{name}}"


def routes(router: Router) -> None:
    """Register the paths of disks."""
    router.add("PUT", ONE, put)
    router.add("PATCH", ONE, patch)
    router.add("GET", ONE, get)
    router.add("DELETE", ONE, delete)
    router.add("GET", f"{GROUP}/disks", list_group)
    router.add("GET", "/subscriptions/{sub}/providers/Microsoft.Compute/disks", list_all)


def create_for(arm: Arm, vm: Resource) -> None:
    """Make the disks of a new VM, with the names that Azure gives; none for an ephemeral one."""
    storage = vm.properties["storageProfile"]
    names = vm.hidden["disk_names"] = []
    system = storage["osDisk"]
    plan = [(data, f"{vm.name}_disk{n}", None) for n, data in enumerate(storage["dataDisks"], 2)]
    system.setdefault("name", f"{vm.name}_OsDisk_1_{uuid.uuid4().hex}")
    if not is_ephemeral(vm.body):
        plan.insert(0, (system, "", system["osType"]))
    for disk, prefix, os_type in plan:
        name = disk.setdefault("name", f"{prefix}_{uuid.uuid4().hex}")
        disk_id = disk["managedDisk"].setdefault("id", arm.id(vm.group, DISK, name))
        names.append(name)
        if arm.resources.get(disk_id) is None:
            body = _body(arm, disk_id, vm.location, disk["managedDisk"]["storageAccountType"], disk)
            if os_type:
                body["properties"]["osType"] = os_type
            body |= {key: vm.body[key] for key in ("zones", "tags") if vm.body.get(key)}
            arm.resources.put(disk_id, body)
        found = arm.resources.get(disk_id)
        assert found is not None
        found.body["managedBy"] = vm.id
        found.hidden["vm"] = vm.name
        found.properties["diskState"] = "Attached"


def _body(
    arm: Arm, disk_id: str, location: str, sku: str, wanted: dict[str, Any]
) -> dict[str, Any]:
    size = int(wanted.get("diskSizeGB") or 30)
    return {
        "name": disk_id.rsplit("/", 1)[-1],
        "id": disk_id,
        "type": DISK,
        "location": location,
        "sku": {"name": sku, "tier": sku.split("_")[0]},
        "properties": {
            "creationData": {"createOption": wanted.get("createOption", "Empty")},
            "diskSizeGB": size,
            "diskSizeBytes": size * 1024**3,
            "timeCreated": arm.clock.stamp(),
            "provisioningState": "Succeeded",
            "diskState": "Unattached",
            "uniqueId": str(uuid.uuid4()),
            "encryption": {"type": "EncryptionAtRestWithPlatformKey"},
        },
    }


def set_state(arm: Arm, vm: Resource, state: str) -> None:
    """Change what a VM's disks say: "Attached" or "Reserved" (of a deallocated VM)."""
    for disk in arm.resources.list(DISK):
        if disk.body.get("managedBy", "").lower() == vm.id.lower():
            disk.properties["diskState"] = state


def detach(arm: Arm, vm: Resource, *, cascade: bool) -> None:
    """Free a VM's disks; those with deleteOption Delete go when ``cascade`` says so."""
    storage = vm.properties["storageProfile"]
    for each in (storage["osDisk"], *storage["dataDisks"]):
        disk = arm.resources.get((each.get("managedDisk") or {}).get("id", ""))
        if disk is None:
            continue
        if cascade and each["deleteOption"] == "Delete":
            arm.resources.delete(disk.id)
        else:
            disk.body.pop("managedBy", None)
            disk.properties["diskState"] = "Unattached"


async def put(call: Call) -> Answer:
    """Make an empty disk or change its size."""
    arm, request = call.arm, call.body or {}
    arm.require_group(call.params["group"])
    disk_id = arm.id(call.params["group"], DISK, call.name)
    properties = request.get("properties") or {}
    option = (properties.get("creationData") or {}).get("createOption")
    if option is None:
        raise ArmError(
            400,
            "InvalidParameter",
            "Required parameter 'disk.creationData' is missing (null).",
            "disk.creationData",
        )
    wanted = {"diskSizeGB": properties.get("diskSizeGB"), "createOption": option}
    sku = (request.get("sku") or {}).get("name", "Standard_LRS")
    body = _body(arm, disk_id, request["location"], sku, wanted)
    body |= {key: request[key] for key in ("zones", "tags") if request.get(key)}
    body["properties"]["provisioningState"] = "Updating"
    disk = arm.resources.put(disk_id, body)

    def finish() -> None:
        disk.properties["provisioningState"] = "Succeeded"

    answer = {**body, "properties": dict(body["properties"])}
    operation = arm.operations.start(call, disk_id, disk.location, finish=finish)
    return Answer(202, answer, arm.operations.headers(operation, call))


async def patch(call: Call) -> Answer:
    """Change a disk's tags, size or type."""
    arm, disk, change = call.arm, _find(call), call.body or {}
    before = disk.properties
    before["provisioningState"] = "Updating"
    answer = {**disk.body, "properties": dict(before)}

    def finish() -> None:
        disk.body.update({key: change[key] for key in ("tags", "sku") if key in change})
        size = (change.get("properties") or {}).get("diskSizeGB")
        if size is not None:
            before.update(diskSizeGB=size, diskSizeBytes=size * 1024**3)
        before["provisioningState"] = "Succeeded"

    operation = arm.operations.start(call, disk.id, disk.location, finish=finish)
    return Answer(202, answer, arm.operations.headers(operation, call))


async def get(call: Call) -> Answer:
    """Show a disk."""
    return Answer(200, _find(call).body)


async def delete(call: Call) -> Answer:
    """Delete a disk that no VM has."""
    arm = call.arm
    arm.require_group(call.params["group"])
    disk = arm.resources.get(arm.id(call.params["group"], DISK, call.name))
    if disk is None:
        return Answer(204)
    if disk.body.get("managedBy"):
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Disk {disk.name} is attached to VM {disk.body['managedBy']}.",
        )

    def finish() -> None:
        arm.resources.delete(disk.id)

    operation = arm.operations.start(call, disk.id, disk.location, finish=finish)
    return Answer(202, None, arm.operations.headers(operation, call))


async def list_group(call: Call) -> Answer:
    """List the disks of a group."""
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.list(DISK, call.params["group"])
    return page(call, [disk.body for disk in found])


async def list_all(call: Call) -> Answer:
    """List the disks of the subscription."""
    return page(call, [disk.body for disk in call.arm.resources.list(DISK)])


def _find(call: Call) -> Resource:
    group = call.params["group"]
    call.arm.require_group(group)
    disk = call.arm.resources.get(call.arm.id(group, DISK, call.name))
    if disk is None:
        raise ArmError(
            404,
            "ResourceNotFound",
            f"The Resource '{DISK}/{call.name}' under resource group '{group}' was not found. For "
            "more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return disk
