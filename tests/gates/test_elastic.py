"""The elastic site on this machine fails as it is told to, and forgets nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from skyport_gates.gate import (
    GateContext,
    GateUnavailable,
    NoCapacity,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    QuotaExceeded,
)
from skyport_gates.local_files import process_start
from tests.infra.elastic import ElasticTestGate, Fault, clear_faults, inject
from tests.infra.logins import Authority
from tests.infra.wait import eventually


@pytest.fixture
async def gate(context: GateContext) -> AsyncIterator[ElasticTestGate]:
    site = ElasticTestGate(name="elastic", context=context, delay=0.0, delete_delay=0.0)
    await site.start()
    yield site
    clear_faults(context.home)
    await site.destroy()


@pytest.fixture
def request_small(context: GateContext) -> PartitionRequest:
    return PartitionRequest("p1", "small", "ann", context.user_ca, tags={"skyport-job": "j1"})


async def _ready(gate: ElasticTestGate) -> Partition:
    async def look() -> Partition | None:
        partition = await gate.get("p1")
        return partition if partition.status is PartitionStatus.READY else None

    found = await eventually(look, "the partition is ready")
    assert found is not None
    return found


async def test_faults_happen_as_often_as_asked_for_and_then_no_more(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    inject(context.home, Fault("create", "NoCapacity"), times=2)
    for _ in range(2):
        with pytest.raises(NoCapacity):
            await gate.create(request_small)
    assert await gate.list() == []
    await gate.create(request_small)
    await _ready(gate)


async def test_a_fault_may_concern_one_flavor_only(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    inject(context.home, Fault("create", "QuotaExceeded", flavor="large"))
    await gate.create(request_small)
    with pytest.raises(QuotaExceeded):
        await gate.create(PartitionRequest("p2", "large", "ann", context.user_ca))


async def test_a_lost_answer_leaves_the_work_done(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    inject(context.home, Fault("create", "lost_answer"))
    with pytest.raises(GateUnavailable):
        await gate.create(request_small)
    assert [partition.name for partition in await gate.list()] == ["p1"]


async def test_a_hanging_call_never_answers_and_can_be_cancelled(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    inject(context.home, Fault("create", "hang"))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(gate.create(request_small), 0.1)
    assert await gate.list() == []
    await gate.create(request_small)


async def test_a_partition_may_fail_while_it_is_made(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    inject(context.home, Fault("boot", "NoCapacity"))
    await gate.create(request_small)
    partition = await gate.get("p1")
    assert partition.status is PartitionStatus.FAILED
    assert isinstance(partition.error, NoCapacity)
    await gate.delete("p1")
    with pytest.raises(PartitionNotFound):
        await gate.get("p1")


async def test_a_partition_takes_its_time(
    context: GateContext, request_small: PartitionRequest
) -> None:
    gate = ElasticTestGate(name="elastic", context=context, delay=0.3, delete_delay=0.3)
    await gate.create(request_small)
    assert (await gate.get("p1")).status is PartitionStatus.CREATING
    await _ready(gate)
    await gate.delete("p1")
    assert (await gate.get("p1")).status is PartitionStatus.DELETING

    async def gone() -> bool:
        return await gate.list() == []

    await eventually(gone, "the partition is gone")


async def test_deleting_a_partition_ends_what_runs_on_it(
    gate: ElasticTestGate, authority: Authority, request_small: PartitionRequest
) -> None:
    await gate.create(request_small)
    (node,) = (await _ready(gate)).nodes
    async with authority.connect(node.endpoint, "ann") as connection:
        result = await connection.run(
            "setsid sh -c 'echo $$ >pid; exec sleep 600' >/dev/null 2>&1 </dev/null &"
            "while ! [ -s pid ]; do sleep 0.01; done; cat pid"
        )
    pid = int(str(result.stdout))
    assert process_start(pid) is not None
    await gate.delete("p1")
    with pytest.raises(PartitionNotFound):
        await gate.get("p1")
    assert process_start(pid) is None


async def test_a_crashed_node_stays_in_the_books(
    gate: ElasticTestGate, context: GateContext, request_small: PartitionRequest
) -> None:
    await gate.create(request_small)
    await _ready(gate)
    pid = int((context.home / "nodes/p1/node0/pid").read_text().split()[0])
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: process_start(pid) is None, "the node is dead")
    assert (await gate.get("p1")).status is PartitionStatus.READY
