"""Virtual machines: made, updated, shown, listed and deleted."""

from __future__ import annotations

import copy
from typing import Any

from tests.infra.arm import disks, nics
from tests.infra.arm.capacity import check_quota, check_size
from tests.infra.arm.checks import check_request, check_update
from tests.infra.arm.operations import Operation
from tests.infra.arm.router import Answer, ArmError, Call, Router, page
from tests.infra.arm.state import VM, Arm, Resource
from tests.infra.arm.vm import instance_view, machine_of, quota_of, shown

GROUP = "/subscriptions/{sub}/resourceGroups/{group}/providers/Microsoft.Compute"
ONE = f"{GROUP}/virtualMachines/{{name}}"


def routes(router: Router) -> None:
    """Register the paths of virtual machines."""
    router.add("PUT", ONE, put)
    router.add("PATCH", ONE, patch)
    router.add("GET", ONE, get)
    router.add("DELETE", ONE, delete)
    router.add("GET", f"{ONE}/instanceView", view, kind="virtualMachines.instanceView")
    router.add("GET", f"{GROUP}/virtualMachines", list_group)
    everywhere = "/subscriptions/{sub}/providers/Microsoft.Compute/virtualMachines"
    router.add("GET", everywhere, list_all)


def vm_id(call: Call) -> str:
    """The id of the VM in a call's path."""
    return call.arm.id(call.params["group"], VM, call.name)


def find(call: Call) -> Resource:
    """The VM of a call's path; :class:`ArmError` when there is none."""
    call.arm.require_group(call.params["group"])
    vm = call.arm.resources.get(vm_id(call))
    if vm is not None:
        return vm
    if vm_id(call).lower() in call.arm.evicted:
        raise ArmError(404, "NotFound", "The entity was not found in this Azure location.")
    raise ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{VM}/{call.name}' under resource group '{call.params['group']}' was not "
        "found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )


def refuse_deleting(vm: Resource, action: str) -> None:
    """A VM that is being deleted takes no other request."""
    if vm.properties["provisioningState"] == "Deleting":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation '{action}' is not allowed on VM '{vm.name}' since the VM is marked for "
            "deletion. You can only retry the Delete operation (or wait for an ongoing one to "
            "complete).",
        )


def refuse_busy(call: Call, vm: Resource) -> None:
    """A VM takes one request at a time."""
    if call.arm.operations.on(vm.id) is not None:
        raise ArmError(
            409,
            "Conflict",
            "The request failed due to conflict with a concurrent request. To resolve it, please "
            "refer to https://aka.ms/activitylog to get more details on the conflicting requests.",
        )


async def put(call: Call) -> Answer:
    """Make a VM or update it."""
    arm = call.arm
    request = check_request(call)
    arm.require_group(call.params["group"])
    old = arm.resources.get(vm_id(call))
    if old is not None:
        return _put_again(call, old, request)
    row = check_size(arm, call.name, request)
    region = row["locations"][0].lower()
    spot = request["properties"].get("priority") == "Spot"
    nics.check_profile(arm, call.name, request)
    check_quota(arm, row, region, spot, {})
    body = shown(arm, call.name, request, None)
    body["id"] = vm_id(call)
    arm.evicted.discard(body["id"].lower())
    vm = arm.resources.put(body["id"], body)
    vm.hidden.update(request=copy.deepcopy(request), quota=quota_of(row, spot), etag=1)
    arm.quotas.use(region, vm.hidden["quota"])
    vm.hidden["machine"] = machine_of(body, request, vm.group)
    body["properties"]["networkProfile"] = nics.attach(arm, vm, request)
    answer = _body(vm)
    operation = create(call, vm)
    return _accepted(call, operation, 201, answer)


def create(call: Call, vm: Resource) -> Operation:
    """Begin the operation that allocates and boots a VM."""
    arm, machine = call.arm, vm.hidden["machine"]
    vm.hidden.update(error=None, power=None, ready=False)

    async def work() -> None:
        disks.create_for(arm, vm)
        vm.hidden["power"] = "starting"
        machine.address = await arm.backend.create(machine)
        nics.set_address(arm, vm, machine.address)
        vm.hidden["power"] = "running"
        await arm.backend.booted(machine)

    def finish() -> None:
        vm.hidden["ready"] = True
        vm.properties["provisioningState"] = "Succeeded"

    def fail(error: dict[str, Any]) -> None:
        vm.hidden["error"] = error
        vm.properties["provisioningState"] = "Failed"

    return arm.operations.start(call, vm.id, vm.location, work=work, finish=finish, fail=fail)


def _put_again(call: Call, vm: Resource, request: dict[str, Any]) -> Answer:
    """The PUT of a VM that exists."""
    arm = call.arm
    if call.headers.get("If-None-Match") == "*":
        raise ArmError(
            412,
            "PreconditionFailed",
            f"The resource '{vm.id}' already exists: the condition 'If-None-Match: *' is not met.",
        )
    refuse_deleting(vm, "createOrUpdate")
    same = request == vm.hidden["request"]
    running = arm.operations.on(vm.id)
    if running is not None and same:
        return _accepted(call, running, 200, _body(vm))
    refuse_busy(call, vm)
    check_update(vm, request)
    row = check_size(arm, vm.name, request)
    spot = request["properties"].get("priority") == "Spot"
    check_quota(arm, row, vm.location, spot, vm.hidden["quota"])
    body = shown(arm, vm.name, request, vm)
    body["id"] = vm.id
    body["properties"]["networkProfile"] = vm.properties["networkProfile"]
    body["properties"]["storageProfile"] = vm.properties["storageProfile"]
    _recount(arm, vm, quota_of(row, spot))
    vm.body = body
    vm.hidden["etag"] += 1
    vm.hidden["request"] = copy.deepcopy(request)
    if vm.hidden["power"] is None:
        machine = machine_of(body, request, vm.group)
        vm.hidden["machine"] = machine
        answer = _body(vm)
        return _accepted(call, create(call, vm), 200, answer)
    vm.hidden["machine"].size = request["properties"]["hardwareProfile"]["vmSize"]
    vm.hidden["machine"].tags = dict(body.get("tags") or {})
    return _accepted(call, _update(call, vm), 200, _body(vm))


def _recount(arm: Arm, vm: Resource, quota: dict[str, int]) -> None:
    held: dict[str, int] = vm.hidden["quota"]
    arm.quotas.use(vm.location, {name: -amount for name, amount in held.items()})
    arm.quotas.use(vm.location, quota)
    vm.hidden["quota"] = quota


def _update(call: Call, vm: Resource) -> Operation:
    vm.properties["provisioningState"] = "Updating"

    def finish() -> None:
        vm.hidden["error"] = None
        vm.properties["provisioningState"] = "Succeeded"

    def fail(error: dict[str, Any]) -> None:
        vm.hidden["error"] = error
        vm.properties["provisioningState"] = "Failed"

    return call.arm.operations.start(call, vm.id, vm.location, finish=finish, fail=fail)


async def patch(call: Call) -> Answer:
    """Change tags, size or capabilities."""
    vm = find(call)
    refuse_deleting(vm, "update")
    refuse_busy(call, vm)
    change = call.body or {}
    request = copy.deepcopy(vm.hidden["request"])
    for key in ("tags", "identity", "zones"):
        if key in change:
            request[key] = change[key]
    _merge(request.setdefault("properties", {}), change.get("properties") or {})
    call.body = request
    answer = _put_again(call, vm, request)
    answer.status = 200
    return answer


def _merge(target: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = value


async def get(call: Call) -> Answer:
    """Show a VM; ``$expand`` adds its instance view or its user data."""
    vm = find(call)
    body = _body(vm)
    expand = call.option("$expand").lower()
    if expand == "instanceview":
        body["properties"]["instanceView"] = instance_view(call.arm, vm)
    elif expand == "userdata":
        data = (vm.hidden["request"].get("properties") or {}).get("userData")
        if data:
            body["properties"]["userData"] = data
    return Answer(200, body, {"ETag": body["etag"]})


async def view(call: Call) -> Answer:
    """Show how a VM is."""
    return Answer(200, instance_view(call.arm, find(call)))


async def list_group(call: Call) -> Answer:
    """List the VMs of a group."""
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.list(VM, call.params["group"])
    expand = call.option("$expand").lower() == "instanceview"
    return page(call, [_listed(call.arm, vm, expand) for vm in found])


async def list_all(call: Call) -> Answer:
    """List the VMs of the subscription, with ``statusOnly=true`` how each is."""
    status = call.flag("statusOnly") or call.option("$expand").lower() == "instanceview"
    found = call.arm.resources.list(VM)
    return page(call, [_listed(call.arm, vm, status) for vm in found])


def _listed(arm: Arm, vm: Resource, status: bool) -> dict[str, Any]:
    body = _body(vm)
    if status:
        body["properties"]["instanceView"] = instance_view(arm, vm)
    return body


async def delete(call: Call) -> Answer:
    """Delete a VM and, by their deleteOption, what hangs on it."""
    arm = call.arm
    arm.require_group(call.params["group"])
    vm = arm.resources.get(vm_id(call))
    if vm is None:
        return Answer(204)
    running = arm.operations.on(vm.id)
    if running is not None and running.kind == call.kind:
        return _accepted(call, running, 202, None)
    await arm.operations.preempt(vm.id)
    vm.properties["provisioningState"] = "Deleting"
    everything = call.fault is None or call.fault.when != "leftover"

    async def work() -> None:
        await arm.backend.delete(vm.hidden["machine"])
        vm.hidden["power"] = None

    def finish() -> None:
        remove(arm, vm, cascade=everything)

    def fail(error: dict[str, Any]) -> None:
        vm.hidden["error"] = error
        vm.properties["provisioningState"] = "Failed"

    operation = arm.operations.start(call, vm.id, vm.location, work=work, finish=finish, fail=fail)
    return _accepted(call, operation, 202, None)


def remove(arm: Arm, vm: Resource, *, cascade: bool = True) -> None:
    """Take a VM out of the store, with what its deleteOptions say."""
    arm.resources.delete(vm.id)
    held: dict[str, int] = vm.hidden["quota"]
    arm.quotas.use(vm.location, {name: -amount for name, amount in held.items()})
    nics.detach(arm, vm, cascade=cascade)
    disks.detach(arm, vm, cascade=cascade)


def _body(vm: Resource) -> dict[str, Any]:
    body = copy.deepcopy(vm.body)
    body["etag"] = f'"{vm.hidden["etag"]}"'
    return body


def _accepted(call: Call, operation: Operation, status: int, body: dict[str, Any] | None) -> Answer:
    style = "async" if body is not None else "both"
    return Answer(status, body, call.arm.operations.headers(operation, call, style=style))
