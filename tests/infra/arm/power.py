"""What is done to a virtual machine that exists: power, eviction, commands, boot diagnostics."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime, timezone
from typing import Any

from tests.infra.arm import compute, disks, nics
from tests.infra.arm.authority import Client
from tests.infra.arm.backends import Machine
from tests.infra.arm.router import Answer, ArmError, Call, Router
from tests.infra.arm.state import Arm, Resource
from tests.infra.arm.vm import is_ephemeral


def routes(router: Router) -> None:
    """Register the actions on virtual machines."""
    for action, handler in {
        "start": start,
        "powerOff": power_off,
        "deallocate": deallocate,
        "restart": restart,
        "redeploy": restart,
        "reapply": reapply,
        "runCommand": run_command,
        "simulateEviction": simulate_eviction,
        "retrieveBootDiagnosticsData": boot_diagnostics,
    }.items():
        router.add("POST", f"{compute.ONE}/{action}", handler)
    router.add("GET", "/blob/bootdiagnostics/{key}/{name}", blob, kind="blob.get", public=True)


def _action(
    call: Call,
    vm: Resource,
    during: str,
    work: Callable[[], Awaitable[None]],
    after: str,
    finish: Callable[[], Any] | None = None,
) -> Answer:
    """Begin an action; ``during`` and ``after`` are power states."""
    arm, before = call.arm, vm.hidden["power"]
    compute.refuse_deleting(vm, call.kind.rsplit(".", 1)[-1])
    compute.refuse_busy(call, vm)
    vm.hidden["power"] = during
    vm.properties["provisioningState"] = "Updating"

    def done() -> Any:
        vm.hidden.update(power=after, error=None)
        vm.properties["provisioningState"] = "Succeeded"
        return finish() if finish is not None else None

    def fail(error: dict[str, Any]) -> None:
        vm.hidden.update(power=before, error=error)
        vm.properties["provisioningState"] = "Failed"

    operation = arm.operations.start(call, vm.id, vm.location, work=work, finish=done, fail=fail)
    return Answer(202, None, arm.operations.headers(operation, call))


async def start(call: Call) -> Answer:
    """Switch on."""
    vm = compute.find(call)
    arm, machine, before = call.arm, vm.hidden["machine"], vm.hidden["power"]

    async def work() -> None:
        if before != "running":
            begin = arm.backend.start if machine.address else arm.backend.create
            machine.address = await begin(machine)
            nics.set_address(arm, vm, machine.address)
            vm.hidden.update(hibernated=False, ready=True)
            disks.set_state(arm, vm, "Attached")

    return _action(call, vm, "starting", work, "running")


async def power_off(call: Call) -> Answer:
    """Switch off; the VM keeps its place and is still billed."""
    vm = compute.find(call)

    async def work() -> None:
        await call.arm.backend.stop(vm.hidden["machine"])

    return _action(call, vm, "stopping", work, "stopped")


async def deallocate(call: Call) -> Answer:
    """Switch off and give the place back; ``hibernate=true`` keeps what is in memory."""
    vm = compute.find(call)
    if is_ephemeral(vm.body):
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation 'deallocate' is not supported for VM '{vm.name}' because it is using an "
            "Ephemeral OS disk.",
        )
    hibernate = call.flag("hibernate")
    enabled = (vm.properties.get("additionalCapabilities") or {}).get("hibernationEnabled")
    if hibernate and not enabled:
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"The Hibernate-Deallocate Operation cannot be performed on a VM '{vm.name}' that does "
            "not have the hibernation capability enabled.",
        )

    async def work() -> None:
        await call.arm.backend.stop(vm.hidden["machine"])

    def finish() -> None:
        vm.hidden["hibernated"] = hibernate
        disks.set_state(call.arm, vm, "Reserved")

    return _action(call, vm, "deallocating", work, "deallocated", finish)


async def restart(call: Call) -> Answer:
    """Switch off and on again (redeploy: at another place)."""
    vm = compute.find(call)
    arm, machine = call.arm, vm.hidden["machine"]
    if vm.hidden["power"] != "running" and call.kind.endswith("restart"):
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Cannot restart VM '{vm.name}' because it is not running. Start it first.",
        )

    async def work() -> None:
        await arm.backend.stop(machine)
        machine.address = await arm.backend.start(machine)
        nics.set_address(arm, vm, machine.address)

    return _action(call, vm, "starting", work, "running")


async def reapply(call: Call) -> Answer:
    """Apply the VM's state once more: what a failed update leaves can be cured so."""
    vm = compute.find(call)

    async def work() -> None:
        return None

    power = vm.hidden["power"]
    return _action(call, vm, power, work, power)


async def run_command(call: Call) -> Answer:
    """Run a script; the output is its first line, as nothing runs it here."""
    vm = compute.find(call)
    if vm.hidden["power"] != "running":
        raise ArmError(
            409,
            "OperationNotAllowed",
            "The operation requires the VM to be running (or set to run).",
        )
    script = (call.body or {}).get("script") or []

    async def work() -> None:
        return None

    def finish() -> dict[str, Any]:
        text = f"Enable succeeded: \n[stdout]\n{script[0] if script else ''}\n[stderr]\n"
        return {
            "value": [
                {
                    "code": "ProvisioningState/succeeded",
                    "level": "Info",
                    "displayStatus": "Provisioning succeeded",
                    "message": text,
                }
            ]
        }

    return _action(call, vm, "running", work, "running", finish)


async def simulate_eviction(call: Call) -> Answer:
    """Evict a Spot VM, after the notice that its metadata service gives."""
    vm = compute.find(call)
    if vm.properties.get("priority") != "Spot":
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Operation 'simulateEviction' is not allowed on VM '{vm.name}' since it is not an "
            "Azure Spot VM.",
        )
    call.arm.spawn(evict(call.arm, vm))
    return Answer(204)


async def evict(arm: Arm, vm: Resource, notice: float | None = None) -> None:
    """Take a VM's place away: it hears of it, and ``notice`` seconds later it is gone.

    An acknowledgement of the guest ends the wait. By its evictionPolicy the VM is then
    deallocated, or deleted.
    """
    seconds = arm.eviction_notice if notice is None else notice
    machine: Machine = vm.hidden["machine"]
    event_id = str(uuid.uuid4()).upper()
    heard = arm.acknowledgements[event_id] = asyncio.Event()
    await arm.backend.notice(machine, _preempt(arm, machine, event_id, seconds))
    waits = [asyncio.ensure_future(arm.clock.sleep(seconds)), asyncio.ensure_future(heard.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        arm.acknowledgements.pop(event_id, None)
    if arm.resources.get(vm.id) is not vm:
        return
    await arm.operations.preempt(vm.id)
    if vm.properties.get("evictionPolicy") == "Delete":
        await arm.backend.delete(machine)
        compute.remove(arm, vm)
        arm.evicted.add(vm.id.lower())
    else:
        await arm.backend.stop(machine)
        vm.hidden.update(power="deallocated")
        vm.properties["provisioningState"] = "Succeeded"
        disks.set_state(arm, vm, "Reserved")


def _preempt(arm: Arm, machine: Machine, event_id: str, seconds: float) -> dict[str, Any]:
    """The scheduled event as IMDS words it."""
    moment = datetime.fromtimestamp(arm.clock.time() + seconds, tz=timezone.utc)
    return {
        "EventId": event_id,
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": [machine.name],
        "EventStatus": "Scheduled",
        "NotBefore": moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
    }


async def boot_diagnostics(call: Call) -> Answer:
    """URIs, good for a while, of what the VM printed while booting."""
    vm = compute.find(call)
    diagnostics = (vm.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}
    if not diagnostics.get("enabled"):
        raise ArmError(
            409,
            "OperationNotAllowed",
            f"Boot diagnostics is not enabled for VM '{vm.name}'. Enable it to retrieve its data.",
        )
    minutes = int(call.option("sasUriExpirationTimeInMinutes") or 120)
    key = uuid.uuid4().hex
    call.arm.signatures[key] = (vm.id, call.arm.clock.time() + 60 * minutes)
    url = f"{call.base}/blob/bootdiagnostics/{key}"
    signed = f"sv=2018-03-28&sr=b&sig={key}&se={call.arm.clock.stamp(60 * minutes)[:19]}Z&sp=r"
    return Answer(
        200,
        {
            "consoleScreenshotBlobUri": f"{url}/{vm.name}.screenshot.bmp?{signed}",
            "serialConsoleLogBlobUri": f"{url}/{vm.name}.serialconsole.log?{signed}",
        },
    )


async def blob(call: Call) -> Answer:
    """What a signed URI gives."""
    vm_id, until = call.arm.signatures.get(call.params["key"], ("", 0.0))
    vm = call.arm.resources.get(vm_id)
    if call.option("sig") != call.params["key"] or call.arm.clock.time() > until:
        return Answer(403, "<?xml version='1.0'?><Error><Code>AuthenticationFailed</Code></Error>")
    if vm is None or not call.name.endswith(".log"):
        return Answer(404, "<?xml version='1.0'?><Error><Code>BlobNotFound</Code></Error>")
    return Answer(200, await call.arm.backend.serial_log(vm.hidden["machine"]))


class GuestListener:
    """Tells the state what machines do by themselves."""

    def __init__(self, arm: Arm) -> None:
        self._arm = arm

    def powered_off(self, machine: Machine) -> None:
        """The guest shut itself down."""
        vm = self._arm.resources.get(machine.id)
        if vm is not None and vm.hidden["power"] == "running":
            vm.hidden["power"] = "stopped"

    def acknowledged(self, machine: Machine, event_id: str) -> None:
        """The guest asked for a scheduled event to start."""
        heard = self._arm.acknowledgements.get(event_id)
        if heard is not None:
            heard.set()

    def identity_token(
        self, machine: Machine, resource: str, client_id: str
    ) -> dict[str, Any] | None:
        """A token of one of the machine's user-assigned identities."""
        vm = self._arm.resources.get(machine.id)
        identity = (vm.body.get("identity") if vm is not None else None) or {}
        assigned: dict[str, dict[str, str]] = identity.get("userAssignedIdentities") or {}
        for resource_id, keys in assigned.items():
            if client_id.lower() in ("", keys["clientId"], resource_id.lower()):
                return self._token(resource_id, keys, resource)
        return None

    def _token(self, resource_id: str, keys: dict[str, str], resource: str) -> dict[str, Any]:
        authority = self._arm.authority
        client = Client(keys["clientId"], keys["principalId"], resource_id=resource_id)
        now = int(self._arm.clock.time())
        return {
            "access_token": authority.issue(client, resource),
            "client_id": client.client_id,
            "expires_in": str(authority.lifetime),
            "expires_on": str(now + authority.lifetime),
            "ext_expires_in": str(authority.lifetime),
            "not_before": str(now),
            "resource": resource,
            "token_type": "Bearer",
        }
