"""Azure out of reach, answers that get lost, and cores that end in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from skyport_gates.azure.operations import PREFIX
from skyport_gates.gate import GateUnavailable, NoCapacity, PartitionStatus, Preempted
from tests.gates.azure.site import Site
from tests.infra.arm import presets
from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.faults import Fault
from tests.infra.wait import eventually

READY, FAILED = PartitionStatus.READY, PartitionStatus.FAILED


Make = Callable[..., Fault]
LOSSES = [presets.lost_answer, presets.reset]


@pytest.mark.parametrize("make", LOSSES)
async def test_a_connection_that_breaks_once_is_not_noticed(azure: Site, make: Make) -> None:
    azure.arm.faults.add(make())
    await azure.ready()
    assert len(azure.arm.machines()) == 1


@pytest.mark.parametrize("make", LOSSES)
async def test_a_create_that_breaks_is_finished_by_the_next(azure: Site, make: Make) -> None:
    azure.arm.faults.add(make(times=2))
    with pytest.raises(GateUnavailable):
        await azure.gate.create(azure.request())
    await azure.gate.create(azure.request())
    await azure.is_(READY)
    assert len(azure.arm.machines()) == 1


async def test_a_create_whose_answer_is_lost_can_be_deleted(azure: Site) -> None:
    azure.arm.faults.add(presets.lost_answer(times=2))
    with pytest.raises(GateUnavailable):
        await azure.gate.create(azure.request())
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_an_answer_that_takes_too_long_is_given_up_in_time(bare: Site) -> None:
    await bare.start(call_timeout=1.0)
    bare.arm.faults.add(presets.late(5))
    with pytest.raises(GateUnavailable, match="did not answer in time"):
        await asyncio.wait_for(bare.gate.create(bare.request()), 1.0)


async def test_a_create_that_nobody_waits_for_is_seen_through(azure: Site) -> None:
    late = azure.arm.faults.add(presets.late(0.2))
    call = asyncio.create_task(azure.gate.create(azure.request()))
    await eventually(lambda: late.struck, "the request has arrived")
    call.cancel()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_the_watch_on_an_operation_outlives_an_outage(azure: Site) -> None:
    backend = azure.arm.backend
    assert isinstance(backend, NullBackend)
    backend.hold()
    backend.fail_boot("sp-1", "There is no room.", "AllocationFailed")
    await azure.gate.create(azure.request())
    await azure.is_(READY)
    await azure.endpoint.down()
    backend.release()
    await azure.arm.settled()
    assert (await azure.gate.get("sp-1")).status is READY
    await azure.endpoint.up()
    assert isinstance((await azure.is_(FAILED)).error, NoCapacity)


async def test_without_azure_known_partitions_are_answered_for(azure: Site) -> None:
    before = await azure.ready()
    await azure.endpoint.down()
    assert await azure.gate.get("sp-1") == before
    assert await azure.gate.flavors()
    with pytest.raises(GateUnavailable):
        await azure.gate.list()
    with pytest.raises(GateUnavailable):
        await azure.gate.get("sp-9")
    await azure.endpoint.up()


async def test_a_removal_goes_on_after_an_outage(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.slow(0.3, "virtualMachines.delete"))
    await azure.gate.delete("sp-1")
    await azure.endpoint.down()
    await azure.arm.settled()
    await azure.endpoint.up()
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_a_broken_connection_of_a_look_is_not_told(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.reset("virtualMachines.list"))
    assert [each.name for each in await azure.gate.list()] == ["sp-1"]


async def test_throttled_looks_are_put_off(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.ready()
    bare.arm.faults.add(presets.arm_throttled(1, "virtualMachines.listAll"))
    bare.arm.calls.clear()
    await eventually(
        lambda: bare.arm.calls.count("virtualMachines.listAll") == 1, "a look was throttled"
    )
    await asyncio.sleep(0.4)
    assert bare.arm.calls.count("virtualMachines.listAll") == 1


async def test_an_operation_that_azure_forgot_is_no_failure(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.ready(suspendable=True)
    bare.arm.faults.add(presets.operation_lost(times=None))
    await bare.gate.suspend("sp-1")
    assert (await bare.is_(PartitionStatus.SUSPENDED)).error is None


async def test_a_machine_that_a_list_lacks_is_asked_for_itself(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.ready(spot=True)
    listing = Fault("virtualMachines.listAll", body='{"value": []}', status=200, times=None)
    bare.arm.faults.add(listing)
    await eventually(lambda: listing.struck > 1, "looks that miss the machine")
    assert (await bare.gate.get("sp-1")).status is READY
    assert bare.arm.backend.listener is not None
    bare.arm.backend.listener.powered_off(bare.arm.machines()["sp-1"])
    assert "stopped itself" in str((await bare.is_(FAILED)).error)


async def test_a_removal_whose_end_cannot_be_written_down_is_tried_again(
    azure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    await azure.ready()
    put, failures = azure.core.store.put, 0

    async def fail_once(key: str, value: str | None) -> None:
        nonlocal failures
        if key == "partition/sp-1" and value is None and not failures:
            failures += 1
            raise OSError("the disk is full")
        await put(key, value)

    monkeypatch.setattr(azure.core.store, "put", fail_once)
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert failures == 1
    assert "partition/sp-1" not in await azure.core.store.items()


async def test_limits_are_looked_at_when_a_machine_is_gone(
    azure: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    assert azure.gate._session is not None
    monkeypatch.setattr(azure.gate._session.fleet, "note_quota", asked.append)
    await azure.asleep()
    assert asked == ["westeurope"]
    await azure.gate.delete("sp-1")
    await azure.gone()
    await eventually(lambda: asked == ["westeurope"] * 2, "the limits are looked at again")


# -- restarts ----------------------------------------------------------------------------------


async def test_a_restarted_core_knows_addresses_and_host_keys(azure: Site) -> None:
    before = await azure.ready()
    await azure.restart()
    assert await azure.gate.get("sp-1") == before
    assert azure.arm.calls.count("networkInterfaces.list") == 0


async def test_a_restarted_core_goes_on_watching_a_creation(azure: Site) -> None:
    backend = azure.arm.backend
    assert isinstance(backend, NullBackend)
    backend.hold()
    backend.fail_boot("sp-1", "There is no room.", "AllocationFailed")
    await azure.gate.create(azure.request())
    assert await azure.core.store.items(PREFIX)
    await azure.restart()
    backend.release()
    assert isinstance((await azure.is_(FAILED)).error, NoCapacity)
    assert azure.arm.calls.count("virtualMachines.put") == 0


async def test_a_token_that_cannot_be_read_is_forgotten(azure: Site) -> None:
    await azure.ready()
    await azure.core.store.put(PREFIX + "sp-1", "nonsense")
    await azure.core.store.put(
        PREFIX + "sp-2",
        '{"kind": "create", "machine": "sp-2", "partition": "sp-2", "token": "nonsense"}',
    )
    await azure.restart()
    assert (await azure.gate.get("sp-1")).status is READY

    async def forgotten() -> bool:
        return not await azure.core.store.items(PREFIX)

    await eventually(forgotten, "the tokens are forgotten")


async def test_a_restarted_core_finishes_a_removal(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.slow(0.3, "virtualMachines.delete"))
    await azure.gate.delete("sp-1")
    await azure.restart()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_what_was_evicted_while_the_core_was_down_is_preempted(azure: Site) -> None:
    await azure.ready(spot=True)
    await azure.gate.close(idle=False)
    await azure.arm.evict("sp-1", 0)
    await azure.start()
    assert isinstance((await azure.is_(FAILED)).error, Preempted)


async def test_a_partition_that_was_only_planned_is_gone_when_deleted(azure: Site) -> None:
    azure.arm.faults.add(presets.reset(times=2))
    with pytest.raises(GateUnavailable):
        await azure.gate.create(azure.request())
    await azure.restart()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert not [key for key in await azure.core.store.items() if "sp-1" in key]


async def test_the_whole_memory_may_be_lost(azure: Site) -> None:
    before = await azure.ready()
    for key in await azure.core.store.items():
        if key != "secret":
            await azure.core.store.put(key, None)
    await azure.restart()
    (found,) = await azure.gate.list()
    assert found.name == "sp-1"
    node = (await azure.is_(READY)).nodes[0]
    assert node.endpoint.host_keys == before.nodes[0].endpoint.host_keys
    assert node.endpoint.host == before.nodes[0].endpoint.host
    assert node.flavor == before.nodes[0].flavor
