"""Random faults of Azure and deaths of the core: every job ends well or clearly, nothing is left.

Each walk is one job with faults, an eviction or a cancellation of its own, drawn from its seed.
Walks run side by side on one core, which is killed and cut off from Azure now and then.
"""

from __future__ import annotations

import asyncio
import os
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from skyport_core.model import JobState
from tests.infra.arm.faults import Fault
from tests.infra.arm.router import Call
from tests.infra.arm.state import VM, Resource
from tests.infra.azure import AzureDesk, azure_desk
from tests.infra.desk import Desk
from tests.infra.requirements import needs_root

BATCHES = int(os.environ.get("SKYPORT_WALK_BATCHES", "1"))
WALKS = 50
"""Walks in a batch. With SKYPORT_WALK_BATCHES=4 there are 200 in all, of as many seeds."""

SIZES = ["Standard_D2s_v5", "Standard_D4s_v5", "Standard_D8s_v5", "Standard_E4s_v5"]

Match = Callable[[Call], bool]


@dataclass
class Walk:
    """One job and what happens to it."""

    seed: int

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.job_id = str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        self.mark = self.job_id.replace("-", "")[:12]
        self.spot = self.random.random() < 0.4
        self.faults = self.random.choices(list(MENU), k=self.random.choice([0, 1, 1, 2, 2, 3]))
        self.cancel_after = self.random.uniform(0, 4) if self.random.random() < 0.2 else None
        self.evict = self.spot and self.random.random() < 0.6

    def mine(self, call: Call) -> bool:
        """Whether a call is about a machine of this job."""
        return self.mark in call.path.lower()

    async def run(self, azure: AzureDesk) -> None:
        """Order the faults, submit, and do to the job what the seed says."""
        for name in self.faults:
            azure.arm.faults.add(*MENU[name](self.mine))
        await asyncio.sleep(self.random.uniform(0, 2))
        await azure.desk.submit(
            *("sh", "-c", f"sleep {self.random.uniform(0, 2):.1f}; echo done"),
            job_id=self.job_id,
            flavor=self.random.choice(SIZES),
            spot=self.spot,
            on_eviction=self.random.choice(["fail", "requeue", "move"]),
            outputs=["results/**"],
        )
        if self.cancel_after is not None:
            await asyncio.sleep(self.cancel_after)
            await azure.desk.client.delete_job(self.job_id, wait=30)
        elif self.evict:
            await asyncio.sleep(self.random.uniform(0.5, 3))
            for name in [name for name in azure.arm.machines() if self.mark in name]:
                azure.arm.spawn(azure.arm.evict(name, self.random.choice([0.0, 1.0])))


def before(code: str, status: int = 409, **more: object) -> Callable[[Match], list[Fault]]:
    """An answer of a creation that is an error."""

    def make(match: Match) -> list[Fault]:
        return [Fault("virtualMachines.put", code, status, message(code), match=match, **more)]

    return make


def during(kind: str, when: str, code: str = "", **more: object) -> Callable[[Match], list[Fault]]:
    """Something that goes wrong on the way of a call."""

    def make(match: Match) -> list[Fault]:
        return [Fault(kind, code, message=message(code), when=when, match=match, **more)]

    return make


def message(code: str) -> str:
    """The words of Azure, shortened."""
    if code == "OperationNotAllowed":
        return (
            "Operation could not be completed as it results in exceeding approved "
            "standardDSv5Family Cores quota. Current Limit: 10, Current Usage: 10, "
            "Additional Required: 4."
        )
    return f"{code} on request of the test."


MENU: dict[str, Callable[[Match], list[Fault]]] = {
    "sku": before("SkuNotAvailable"),
    "quota": before("OperationNotAllowed"),
    "throttled": before("TooManyRequests", 429, retry_after=1),
    "server error": before("InternalServerError", 500, times=2),
    "lost answer": during("virtualMachines.put", "lost_answer"),
    "reset": during("virtualMachines.put", "reset", times=2),
    "zone": during("virtualMachines.put", "lro", "ZonalAllocationFailed"),
    "allocation": during("virtualMachines.put", "lro", "AllocationFailed"),
    "late failure": during("virtualMachines.put", "lro", "OSProvisioningInternalError"),
    "delete fails": during("virtualMachines.delete", "before", "InternalServerError", status=500),
    "delete lies": during("virtualMachines.delete", "lie"),
    "delete leaves parts": during("virtualMachines.delete", "leftover"),
    "delete lost": during("virtualMachines.delete", "lost_answer"),
    "slow": during("virtualMachines.put", "slow", seconds=2.0),
}


async def disturb(azure: AzureDesk, chance: random.Random) -> None:
    """Kill the core twice and take Azure away once, at moments of chance."""
    for event in chance.sample(["kill", "kill", "outage"], 3):
        await asyncio.sleep(chance.uniform(0.5, 2))
        if event == "outage":
            await azure.outage(chance.uniform(0.2, 1))
        else:
            await azure.desk.core.kill9()
            await azure.desk.core.start()


@needs_root
@pytest.mark.parametrize("batch", range(BATCHES))
async def test_every_walk_ends_and_leaves_nothing(batch: int):
    walks = [Walk(seed) for seed in range(batch * WALKS, (batch + 1) * WALKS)]
    async with azure_desk(boot_time=0.3) as azure:
        watch = asyncio.create_task(no_twins(azure, walks))
        await asyncio.gather(
            disturb(azure, random.Random(batch)), *(walk.run(azure) for walk in walks)
        )
        ends = [await settled(azure.desk, walk) for walk in walks]
        assert not watch.done() or watch.result()
        watch.cancel()
        assert not azure.desk.core.unfinished()
        await azure.nothing_left(30)
        made = [
            call.name.lower()
            for call in azure.arm.calls.of("virtualMachines.put")
            if call.status == 201
        ]
        assert Counter(made) == Counter(set(made)), "a machine was made twice"
    assert JobState.FINISHED in ends


async def no_twins(azure: AzureDesk, walks: list[Walk]) -> None:
    """Fail as soon as two sound machines of one job exist that nobody has asked to remove."""
    asked = "virtualMachines.delete"
    while True:
        removed = {call.name.lower() for call in azure.arm.calls.of(asked)}
        sound = [vm.name.lower() for vm in azure.arm.resources.list(VM) if is_sound(vm)]
        for walk in walks:
            own = [name for name in sound if walk.mark in name and name not in removed]
            assert len(own) < 2, f"{walk} has {own} at once"
        await asyncio.sleep(0.02)


def is_sound(vm: Resource) -> bool:
    """Whether it runs, or will, as far as Azure says."""
    states = ("failed", "deleting")
    stands = str(vm.properties.get("provisioningState", "")).lower() not in states
    return stands and vm.hidden.get("power") in ("starting", "running")


async def settled(desk: Desk, walk: Walk) -> JobState:
    """The end of a walk's job, which must tell why if it is not a good one."""
    try:
        job = await desk.end(walk.job_id, timeout=60)
    except AssertionError:
        job = await desk.job(walk.job_id)
        assert job.state is JobState.QUEUED and job.wait_reason, (walk, job)
        await desk.client.delete_job(walk.job_id, wait=30)
        job = await desk.end(walk.job_id)
    if job.state is JobState.FAILED:
        assert job.failure is not None and job.failure.message, (walk, job)
    elif job.state is JobState.FINISHED:
        told = "\n".join(str(event) for event in await desk.events(walk.job_id))
        assert await desk.log(walk.job_id) == "done\n", f"{walk} {walk.faults}\n{told}"
    return job.state
