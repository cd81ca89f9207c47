"""Five hundred machines at once: within Azure's limits, and with few calls for each."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyport_gates.azure import budget
from skyport_gates.azure.budget import Budget, Limit
from skyport_gates.gate import PartitionStatus
from tests.gates.azure.site import Site
from tests.infra.arm.clock import Clock
from tests.infra.arm.endpoint import ArmEndpoint

MACHINES = 500
WRITES, READS = 3, 5
"""Calls that one machine may cost from its creation to its end, besides shared lists."""

HASTE = 5.0
"""So much faster than time do Azure's limits, and what the gate keeps to, allow calls again."""


class HastyClock(Clock):
    """Fast time."""

    def __init__(self) -> None:
        self._began = time.time()

    def time(self) -> float:
        return self._began + HASTE * (time.time() - self._began)


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """A site over an Azure that enforces Azure's limits, and a gate with its usual intervals."""
    for kind in ("READS", "WRITES", "DELETES"):
        limit = getattr(budget, kind)
        monkeypatch.setattr(budget, kind, Limit(limit.burst, limit.per_second * HASTE))
    home = tmp_path / "gate"
    home.mkdir(mode=0o700)
    async with ArmEndpoint(regions=("westeurope",), throttle=True, clock=HastyClock()) as endpoint:
        site = Site(endpoint, home)
        await site.start(operation_interval=2.0, fleet_interval=15.0)
        yield site
        await site.gate.close(idle=True)


async def test_five_hundred_machines_at_once_stay_within_azures_limits(site: Site) -> None:
    names = [f"sp-{number}" for number in range(MACHINES)]
    calls = site.arm.calls
    await asyncio.gather(*(site.gate.create(site.request(name)) for name in names))
    await asyncio.gather(*(site.is_(PartitionStatus.READY, name) for name in names))
    asked = Counter((call.kind, call.vm) for call in calls if call.method != "GET")
    assert asked == {("virtualMachines.put", name): 1 for name in names}
    await asyncio.gather(*(site.gate.delete(name) for name in names))
    await asyncio.gather(*(site.gone(name) for name in names))
    assert site.arm.leftovers() == []
    assert not [call for call in calls if call.status == 429], "Azure never had to refuse"
    writes = Counter(call.vm for call in calls if call.vm and call.method != "GET")
    reads = Counter(call.vm for call in calls if call.vm and call.method == "GET")
    assert max(writes.values()) <= WRITES
    assert max(reads.values(), default=0) <= READS


async def test_those_who_leave_a_reserve_give_way() -> None:
    shared = Budget(Limit(3, 0.001))
    patient = asyncio.create_task(shared.turn(reserve=2.5))
    await asyncio.wait_for(asyncio.gather(*(shared.turn() for _ in range(3))), 5)
    assert not patient.done()
    patient.cancel()
