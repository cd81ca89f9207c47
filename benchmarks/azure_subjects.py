"""Ways to make Azure machines, for :mod:`benchmarks.azure`: the gate and its peers."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skyport_gates.azure.admin import AdminClients
from skyport_gates.azure.gate import AzureGate
from skyport_gates.azure.operations import PREFIX
from skyport_gates.gate import GateContext, PartitionNotFound, PartitionRequest, PartitionStatus
from tests.infra.logins import Authority
from tests.infra.wait import eventually

OURS = "skyport"
SEQUENCE = "SDK, NIC then VM"
TEMPLATE = "SDK, template"

SIZE, REGION = "Standard_D2s_v5", "westeurope"
WATCHED = 120.0
"""Seconds after which the gate should have noted the ends of all that it began."""


@dataclass(frozen=True)
class Pace:
    """Seconds.

    Of the endpoint: any ``call``, the operations for ``interface`` and ``machine``, a template's
    ``validation``. Of those who ask it: ``poll`` between two looks of the peers at an operation
    (the SDK's own default is 30), and the gate's usual ``interval`` of looks at operations and
    ``listing`` of all machines.
    """

    call: float = 0.05
    interface: float = 0.5
    machine: float = 2.0
    validation: float = 0.5
    poll: float = 0.2
    interval: float = 2.0
    listing: float = 15.0

    def times(self, factor: float) -> Pace:
        """All of them scaled."""
        return Pace(**{key: seconds * factor for key, seconds in vars(self).items()})

    def __str__(self) -> str:
        return ", ".join(f"{key} {seconds:g} s" for key, seconds in vars(self).items())


class Subject(abc.ABC):
    """One way to make machines.

    ``handed`` says what has come to pass when it hands one over, and ``lists`` whether it is its
    way to list what there is.
    """

    handed: str
    lists: bool

    @abc.abstractmethod
    async def make(self, name: str) -> None:
        """Make a machine; return when it is handed over."""

    async def settled(self) -> None:
        """Return when no operation is looked at any more."""
        return

    @abc.abstractmethod
    async def remove(self, names: Sequence[str]) -> None:
        """Remove machines and all that belongs to them."""


class Gate(Subject):
    """The gate, as the core calls it.

    It hands a machine over as soon as SSH can be tried, which mostly is before the machine is up.
    """

    handed = "address known"
    lists = True

    def __init__(self, gate: AzureGate, user_ca: str, changed: asyncio.Event) -> None:
        self._gate = gate
        self._user_ca = user_ca
        self._changed = changed

    async def make(self, name: str) -> None:
        await self._gate.create(
            PartitionRequest(
                name=name,
                flavor=SIZE,
                region=REGION,
                username="ada",
                user_ca=self._user_ca,
                tags={"skyport-core": "bench"},
            )
        )
        await self._until(name, PartitionStatus.READY)

    async def settled(self) -> None:
        """Wait until the gate has noted the ends of all that it began."""

        async def nothing_watched() -> bool:
            return not await self._gate.context.store.items(PREFIX)

        await eventually(nothing_watched, "end of all operations", WATCHED)

    async def remove(self, names: Sequence[str]) -> None:
        await asyncio.gather(*(self._gate.delete(name) for name in names))
        await asyncio.gather(*(self._until(name, None) for name in names))

    async def _until(self, name: str, status: PartitionStatus | None) -> None:
        while await self._status(name) is not status:
            self._changed.clear()
            await self._changed.wait()

    async def _status(self, name: str) -> PartitionStatus | None:
        with contextlib.suppress(PartitionNotFound):
            partition = await self._gate.get(name)
            if partition.error is not None:
                raise partition.error
            return partition.status
        return None


class Sequenced(Subject):
    """The order of Microsoft's quickstart: the interface, its end, the machine, its end.

    Its network and public address are left out. A machine is handed over when its poller has ended.
    """

    handed = "poller's end"
    lists = False

    def __init__(self, group: str, subnet: str, clients: AdminClients, poll: float) -> None:
        self._group = group
        self._group_id = subnet.partition("/providers/")[0]
        self._subnet = subnet
        self._clients = clients
        self._poll = poll

    async def make(self, name: str) -> None:
        interfaces: Any = self._clients.network.network_interfaces
        first = await interfaces.begin_create_or_update(
            self._group, f"{name}-nic", interface(self._subnet), polling_interval=self._poll
        )
        nic = await first.result()
        machines: Any = self._clients.compute.virtual_machines
        second = await machines.begin_create_or_update(
            self._group, name, machine(name, str(nic.id)), polling_interval=self._poll
        )
        await second.result()

    async def remove(self, names: Sequence[str]) -> None:
        machines = self._clients.compute.virtual_machines
        pollers = await asyncio.gather(
            *(
                machines.begin_delete(
                    self._group, name, force_deletion=True, polling_interval=self._poll
                )
                for name in names
            )
        )
        await asyncio.gather(*(poller.result() for poller in pollers))


class Templated(Sequenced):
    """One template deployment for each machine, as ``az vm create`` makes it."""

    async def make(self, name: str) -> None:
        nic = f"{self._group_id}/providers/Microsoft.Network/networkInterfaces/{name}-nic"
        resources = [
            {
                "type": "Microsoft.Network/networkInterfaces",
                "apiVersion": "2022-11-01",
                "name": f"{name}-nic",
                **interface(self._subnet),
            },
            {
                "type": "Microsoft.Compute/virtualMachines",
                "apiVersion": "2023-03-01",
                "name": name,
                "dependsOn": [nic],
                **machine(name, nic),
            },
        ]
        template = {
            "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
            "contentVersion": "1.0.0.0",
            "resources": resources,
        }
        poller = await self._clients.resources.resources.begin_create_or_update_by_id(
            f"{self._group_id}/providers/Microsoft.Resources/deployments/{name}",
            {"properties": {"mode": "Incremental", "template": template}},
            api_version="2022-09-01",
            polling_interval=self._poll,
        )
        await poller.result()


def interface(subnet: str) -> dict[str, Any]:
    """Body of a network interface."""
    address = {"name": "ip", "properties": {"subnet": {"id": subnet}}}
    return {"location": REGION, "properties": {"ipConfigurations": [address]}}


def machine(name: str, nic: str) -> dict[str, Any]:
    """Body of a machine with an interface that exists."""
    image = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
    attached = {"id": nic, "properties": {"deleteOption": "Delete"}}
    return {
        "location": REGION,
        "properties": {
            "hardwareProfile": {"vmSize": SIZE},
            "storageProfile": {
                "imageReference": image,
                "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
            },
            "osProfile": {
                "computerName": name,
                "adminUsername": "ada",
                "adminPassword": "Only-a-bench-1",
            },
            "networkProfile": {"networkInterfaces": [attached]},
        },
    }


@contextlib.asynccontextmanager
async def subjects(options: dict[str, Any], pace: Pace) -> AsyncIterator[dict[str, Subject]]:
    """The gate as it is shipped, and the peers with clients like the gate's."""
    changed = asyncio.Event()
    user_ca = Authority().public_key
    intervals = {"operation_interval": pace.interval, "fleet_interval": pace.listing}
    own = {**options, **intervals, "prices_url": ""}
    async with contextlib.AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="skyport-bench-")))
        context = GateContext("bench", home, user_ca, changed=lambda _: changed.set())
        gate = AzureGate(name="azure", context=context, sizes=[SIZE], bootstrap="none", **own)
        clients = await stack.enter_async_context(AdminClients(gate))
        await gate.start()
        stack.push_async_callback(gate.close, idle=True)
        place = gate.resource_group, gate.subnet_id(REGION)
        yield {
            OURS: Gate(gate, user_ca, changed),
            SEQUENCE: Sequenced(*place, clients, pace.poll),
            TEMPLATE: Templated(*place, clients, pace.poll),
        }
