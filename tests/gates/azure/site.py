"""An Azure gate over the endpoint, as the core would run it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from skyport_gates.azure.gate import AzureGate
from skyport_gates.gate import (
    GateContext,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    TransientStore,
)
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.state import Arm
from tests.infra.logins import Authority

SIZE = "Standard_D2s_v5"
REGION = "westeurope"
CORE = "core-1"


class Core:
    """The core's part: its memory, and what it hears of changes."""

    def __init__(self, home: Path) -> None:
        self.store = TransientStore()
        self.changes: list[str] = []
        self._changed = asyncio.Event()
        user_ca = Authority().public_key
        self.context = GateContext(CORE, home, user_ca, self.store, self._hear)

    def _hear(self, name: str) -> None:
        self.changes.append(name)
        self._changed.set()

    async def until(
        self, gate: AzureGate, name: str, wanted: Callable[[Partition | None], bool]
    ) -> Partition | None:
        """Ask the gate whenever it says that something changed, until it is as wanted."""

        async def ask() -> Partition | None:
            while True:
                self._changed.clear()
                try:
                    found: Partition | None = await gate.get(name)
                except PartitionNotFound:
                    found = None
                if wanted(found):
                    return found
                await self._changed.wait()

        return await asyncio.wait_for(ask(), 15)


class Site:
    """The endpoint, a core, and its gates."""

    def __init__(self, endpoint: ArmEndpoint, home: Path) -> None:
        self.endpoint = endpoint
        self.home = home
        self.core = Core(home)
        self.gates: list[AzureGate] = []
        self.gate: AzureGate

    @property
    def arm(self) -> Arm:
        """The endpoint's state."""
        return self.endpoint.arm

    def make(self, core: Core | None = None, **traits: Any) -> AzureGate:
        """A gate, not started; ``traits`` beside those for the endpoint."""
        own = {"sizes": ["Standard_D*", "Standard_NC*"], "bootstrap": "none", "prices_url": ""}
        gate = AzureGate(**self.endpoint.gate_options(**{**own, **traits}))
        gate.name, gate.context = "azure", (core or self.core).context
        self.gates.append(gate)
        return gate

    async def start(self, core: Core | None = None, **traits: Any) -> AzureGate:
        """A started gate, which is the site's from now on; calls are counted from here."""
        self.core = core or self.core
        self.gate = self.make(**traits)
        await self.gate.start()
        self.arm.calls.clear()
        return self.gate

    async def restart(self, **traits: Any) -> AzureGate:
        """Close the gate and start another one with the same memory."""
        await self.gate.close(idle=False)
        return await self.start(**traits)

    def request(self, name: str = "sp-1", **fields: Any) -> PartitionRequest:
        """A request as the core makes it."""
        own = {"flavor": SIZE, "username": "alice", "region": REGION}
        tags = {"skyport-core": CORE, "skyport-job": "job-1"}
        user_ca = self.core.context.user_ca
        return PartitionRequest(name=name, user_ca=user_ca, **{"tags": tags, **own, **fields})

    async def is_(self, status: PartitionStatus, name: str = "sp-1") -> Partition:
        """Wait until a partition is said to be so."""
        found = await self.core.until(
            self.gate, name, lambda found: found is not None and found.status is status
        )
        assert found is not None
        return found

    async def ready(self, name: str = "sp-1", **fields: Any) -> Partition:
        """Make a partition and wait until it is READY and its creation has ended."""
        await self.gate.create(self.request(name, **fields))
        found = await self.is_(PartitionStatus.READY, name)
        await self.arm.settled()
        return found

    async def gone(self, name: str = "sp-1") -> None:
        """Wait until a partition is not found any more."""
        await self.core.until(self.gate, name, lambda found: found is None)

    async def asleep(self, name: str = "sp-1", **fields: Any) -> Partition:
        """Make a partition that can sleep, and put it to sleep."""
        await self.ready(name, suspendable=True, **fields)
        await self.gate.suspend(name)
        return await self.is_(PartitionStatus.SUSPENDED, name)
