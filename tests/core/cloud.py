"""Sites in memory, one of them with regions, zones, spot nodes and sleep, as a test says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from skyport_core.sites import Sites
from skyport_gates.gate import (
    Flavor,
    Gate,
    GateContext,
    GateError,
    Image,
    Node,
    NodeHealth,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    Quota,
    QuotaUse,
    SSHEndpoint,
    StaticGate,
    Suspend,
    Terms,
)

log = logging.getLogger("test")


def terms(
    region: str, price: float | None, *zones: str, spot: bool = False, reason: str = ""
) -> Terms:
    return Terms(region, zones, spot, price, reason=reason)


SMALL = Flavor(
    "small",
    cpus=2,
    memory=8192,
    storage=64,
    price=0.1,
    suspendable=True,
    labels={"architecture": "x86_64"},
    terms=(
        terms("westeurope", 0.10, "1", "2"),
        terms("westeurope", 0.02, "1", "2", spot=True),
        terms("northeurope", 0.12),
    ),
)
GPU = Flavor(
    "gpu",
    cpus=8,
    memory=65536,
    gpus=1,
    gpu_type="NVIDIA T4",
    price=0.6,
    terms=(
        terms("westeurope", 0.60, spot=False),
        terms("westeurope", None, spot=True, reason="the quota of spot cores is 0"),
    ),
)
UBUNTU = Image("ubuntu", description="Ubuntu 24.04")


class CloudGate(Gate, Suspend, Quota):
    """Makes nothing; tells what it was given."""

    def __init__(self, *flavors: Flavor, images: tuple[Image, ...] = (UBUNTU,)) -> None:
        super().__init__(name="azure", context=GateContext("core", Path(), ""))
        self.offered = list(flavors or (SMALL, GPU))
        self.known_images = list(images)
        self.trouble: GateError | None = None

    async def flavors(self) -> list[Flavor]:
        self._answer()
        return [*self.offered]

    async def images(self) -> list[Image]:
        return [*self.known_images]

    async def quotas(self) -> list[QuotaUse]:
        self._answer()
        return [QuotaUse("cores", "Total regional cores", "westeurope", 4, 100)]

    def _answer(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def create(self, request: PartitionRequest) -> None:
        raise NotImplementedError

    async def get(self, name: str) -> Partition:
        raise PartitionNotFound(name)

    async def delete(self, name: str) -> None: ...

    async def suspend(self, name: str) -> None: ...

    async def resume(self, name: str) -> None: ...

    async def list(self) -> list[Partition]:
        return []


class LabGate(StaticGate):
    """One fixed node, ``n1``."""

    def __init__(self) -> None:
        super().__init__(name="lab", context=GateContext("core", Path(), ""))
        self.node = Node(
            "n1", SSHEndpoint("127.0.0.1"), "bench", cpus=4, memory=4096, health=NodeHealth.UP
        )

    async def flavors(self) -> list[Flavor]:
        return [Flavor("bench", cpus=4, memory=4096, capacity=1)]

    async def nodes(self) -> list[Node]:
        return [self.node]


@asynccontextmanager
async def running_sites(
    *gates: Gate, changed: Callable[[], None] = lambda: None, block_time: float = 600
) -> AsyncIterator[Sites]:
    """The sites of these gates, asked once."""
    sites = Sites(
        {gate.name: gate for gate in gates},
        refresh_interval=0.02,
        suspect_time=60,
        block_time=block_time,
        changed=changed,
        log=log,
    )
    task = asyncio.create_task(sites.run())
    try:
        await sites.asked(10)
        yield sites
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
