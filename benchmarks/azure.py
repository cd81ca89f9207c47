"""Azure machines: the gate against the SDK's documented sequence and against a template.

One endpoint in a process of its own serves all three, at a pace that is given (and printed).
*Handed over* is the time until the addresses of all machines are known and SSH can be tried; *up*,
until the last machine's own operation has ended at the endpoint.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import Result, Series, argument_parser, compare, median_ratio, publish
from benchmarks.tunnel import Child
from skyport_gates.azure.admin import AdminClients
from skyport_gates.azure.gate import AzureGate
from skyport_gates.gate import GateContext, PartitionNotFound, PartitionRequest, PartitionStatus
from tests.infra.logins import Authority

OURS = "skyport"
SEQUENCE = "SDK, NIC then VM"
TEMPLATE = "SDK, template"

PACE = {"call": 0.05, "interface": 0.5, "machine": 2.0, "validation": 0.5}
"""Seconds of any call, of the operations for interface and machine, of a template's validation."""

POLL = 0.2
"""Seconds between two looks of the peers at an operation; the SDK's own default is 30."""

WATCHED = 4.0
"""Seconds after the machines' own time in which calls still count."""

NUMBERS = (1, 10, 100)
SIZE, REGION = "Standard_D2s_v5", "westeurope"
TIMEOUT = 300.0


class Subject(abc.ABC):
    """One way to make machines."""

    @abc.abstractmethod
    async def make(self, name: str) -> None:
        """Make a machine; return when its address is known."""

    @abc.abstractmethod
    async def remove(self, names: Sequence[str]) -> None:
        """Remove machines and all that belongs to them."""


class Gate(Subject):
    """The gate, as the core calls it."""

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

    Its network and public address are left out.
    """

    def __init__(self, group: str, subnet: str, clients: AdminClients) -> None:
        self._group = group
        self._group_id = subnet.partition("/providers/")[0]
        self._subnet = subnet
        self._clients = clients

    async def make(self, name: str) -> None:
        interfaces: Any = self._clients.network.network_interfaces
        first = await interfaces.begin_create_or_update(
            self._group, f"{name}-nic", interface(self._subnet), polling_interval=POLL
        )
        nic = await first.result()
        machines: Any = self._clients.compute.virtual_machines
        second = await machines.begin_create_or_update(
            self._group, name, machine(name, str(nic.id)), polling_interval=POLL
        )
        await second.result()

    async def remove(self, names: Sequence[str]) -> None:
        machines = self._clients.compute.virtual_machines
        pollers = await asyncio.gather(
            *(
                machines.begin_delete(self._group, name, force_deletion=True, polling_interval=POLL)
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
            polling_interval=POLL,
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
async def subjects(options: dict[str, Any]) -> AsyncIterator[dict[str, Subject]]:
    """The gate with its usual intervals, and the peers with clients like the gate's."""
    changed = asyncio.Event()
    user_ca = Authority().public_key
    own = {**options, "operation_interval": 2.0, "fleet_interval": 15.0, "prices_url": ""}
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
            SEQUENCE: Sequenced(*place, clients),
            TEMPLATE: Templated(*place, clients),
        }


@dataclass(frozen=True)
class Round:
    """One round of a subject: seconds, and calls for each machine."""

    handed: float
    up: float
    calls: float


async def measure(subject: Subject, endpoint: Child, number: int, label: str) -> Round:
    """Make machines side by side, see what it took, and remove them."""
    names = [f"{label}-{index}" for index in range(number)]
    await asyncio.to_thread(endpoint.ask, "begin")
    began, clock = time.time(), time.perf_counter()
    await asyncio.gather(*(subject.make(name) for name in names))
    handed = time.perf_counter() - clock
    # Machines that were handed over may still be coming up; whoever watches them has to be counted.
    await asyncio.sleep(max(0.0, PACE["machine"] + WATCHED - (time.time() - began)))
    seen = json.loads(await asyncio.to_thread(endpoint.ask, "seen"))
    await subject.remove(names)
    return Round(handed, seen["up"] - began, seen["calls"] / number)


async def run(endpoint: Child, numbers: Sequence[int], rounds: int) -> list[Series]:
    """All subjects in turns."""
    values: dict[tuple[int, str], list[Round]] = {}
    async with subjects(json.loads(endpoint.hear())) as found:
        for label, subject in found.items():
            await measure(subject, endpoint, 1, f"warm-{list(found).index(label)}")
        for number in numbers:
            for turn in range(rounds):
                order = list(found.items())
                first = turn % len(order)
                for place, (name, subject) in enumerate(order[first:] + order[:first]):
                    label = f"n{number}-{turn}-{place}"
                    done = await asyncio.wait_for(
                        measure(subject, endpoint, number, label), TIMEOUT
                    )
                    values.setdefault((number, name), []).append(done)
    return [
        Series(name, f"{figure} {number}", unit, tuple(getattr(one, key) for one in done))
        for figure, key, unit in (
            ("handed over", "handed", "s"),
            ("up", "up", "s"),
            ("calls a machine", "calls", "calls"),
        )
        for (number, name), done in sorted(values.items(), key=lambda item: item[0][0])
    ]


def judge(series: Sequence[Series], numbers: Sequence[int]) -> list[Result]:
    """The ratios to the better of the peers against their targets."""

    def result(name: str, figure: str, target: float, *peers: str) -> Result:
        found = {one.subject: one for one in series if one.figure == figure}
        others = [found[peer] for peer in peers or (SEQUENCE, TEMPLATE)]
        return compare(name, found[OURS], others, target, "lower", median_ratio)

    return [
        *(result(f"azure_handed_over_{n}", f"handed over {n}", 0.5) for n in numbers),
        *(result(f"azure_up_{n}", f"up {n}", 0.9) for n in numbers),
        result(f"azure_calls_{max(numbers)}", f"calls a machine {max(numbers)}", 0.6, SEQUENCE),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument(
        "--numbers", type=int, nargs="+", default=NUMBERS, help="machines (1 10 100)"
    )
    options = parser.parse_args(arguments)
    pace = [str(PACE[key]) for key in ("call", "interface", "machine", "validation")]
    with Child([sys.executable, "-m", "benchmarks.azure_endpoint", *pace]) as endpoint:
        series = asyncio.run(run(endpoint, options.numbers, options.rounds))
    print("pace: " + ", ".join(f"{key} {seconds:g} s" for key, seconds in PACE.items()))
    print(f"peers look at their operations every {POLL:g} s\n")
    publish(series, judge(series, options.numbers), options.json)


if __name__ == "__main__":
    main()
