"""Partitions that sleep, wake, are taken back, or switch themselves off."""

from __future__ import annotations

import asyncio

import pytest

from skyport_gates.gate import (
    GateError,
    GateUnavailable,
    NoCapacity,
    PartitionNotFound,
    PartitionStatus,
    Preempted,
)
from tests.gates.azure.site import Site
from tests.infra.arm import presets
from tests.infra.arm.backends.null import NullBackend
from tests.infra.wait import eventually

READY, FAILED = PartitionStatus.READY, PartitionStatus.FAILED
CREATING = PartitionStatus.CREATING
SUSPENDING, SUSPENDED = PartitionStatus.SUSPENDING, PartitionStatus.SUSPENDED
DEALLOCATE, START = "virtualMachines.deallocate", "virtualMachines.start"


def stop_inside(site: Site, name: str = "sp-1") -> None:
    """The machine is shut down from inside."""
    assert site.arm.backend.listener is not None
    site.arm.backend.listener.powered_off(site.arm.machines()[name])


async def test_a_partition_falls_asleep_and_wakes(azure: Site) -> None:
    asleep = await azure.asleep()
    assert asleep.nodes == ()
    assert azure.arm.vm("sp-1").hidden["power"] == "deallocated"
    await azure.gate.resume("sp-1")
    awake = await azure.is_(READY)
    assert awake.nodes[0].endpoint.host == azure.arm.machines()["sp-1"].address


async def test_the_steps_in_between_are_shown(azure: Site) -> None:
    await azure.ready(suspendable=True)
    azure.arm.faults.add(presets.slow(0.2, DEALLOCATE), presets.slow(0.2, START))
    await azure.gate.suspend("sp-1")
    assert (await azure.gate.get("sp-1")).status is SUSPENDING
    await azure.is_(SUSPENDED)
    await azure.gate.resume("sp-1")
    assert (await azure.gate.get("sp-1")).status is CREATING
    await azure.is_(READY)


async def test_addresses_are_read_anew_after_a_sleep(azure: Site) -> None:
    await azure.asleep()
    azure.arm.machines()["sp-1"].address = "10.200.9.9"
    await azure.gate.resume("sp-1")
    assert (await azure.is_(READY)).nodes[0].endpoint.host == "10.200.9.9"


async def test_both_are_idempotent(azure: Site) -> None:
    await azure.asleep()
    await azure.gate.suspend("sp-1")
    assert azure.arm.calls.count(DEALLOCATE) == 1
    await azure.gate.resume("sp-1")
    await azure.gate.resume("sp-1")
    await azure.is_(READY)
    await azure.gate.resume("sp-1")
    assert azure.arm.calls.count(START) == 1


async def test_two_calls_at_the_same_time_are_one(azure: Site) -> None:
    await azure.ready(suspendable=True)
    await asyncio.gather(azure.gate.suspend("sp-1"), azure.gate.suspend("sp-1"))
    await azure.is_(SUSPENDED)
    await asyncio.gather(azure.gate.resume("sp-1"), azure.gate.resume("sp-1"))
    await azure.is_(READY)
    assert (azure.arm.calls.count(DEALLOCATE), azure.arm.calls.count(START)) == (1, 1)


async def test_the_end_of_its_creation_is_waited_for(azure: Site) -> None:
    backend = azure.arm.backend
    assert isinstance(backend, NullBackend)
    backend.hold()
    await azure.gate.create(azure.request(suspendable=True))
    await azure.is_(READY)
    falling = asyncio.create_task(azure.gate.suspend("sp-1"))
    await eventually(lambda: azure.arm.calls.count("operations.get"), "a look at the creation")
    assert azure.arm.calls.count(DEALLOCATE) == 0
    backend.release()
    await falling
    await azure.is_(SUSPENDED)
    assert not [call for call in azure.arm.calls if call.status == 409]


async def test_what_falls_asleep_cannot_wake_yet(azure: Site) -> None:
    await azure.ready(suspendable=True)
    azure.arm.faults.add(presets.slow(0.2, DEALLOCATE))
    await azure.gate.suspend("sp-1")
    with pytest.raises(GateUnavailable, match="going to sleep"):
        await azure.gate.resume("sp-1")
    await azure.is_(SUSPENDED)


async def test_no_room_at_waking_loses_nothing(azure: Site) -> None:
    await azure.asleep()
    fault = presets.allocation_failed(kind=START, match=None)
    azure.arm.faults.add(fault)
    await azure.gate.resume("sp-1")
    found = await azure.core.until(
        azure.gate, "sp-1", lambda found: found is not None and found.error is not None
    )
    assert found is not None
    assert found.status is SUSPENDED
    assert isinstance(found.error, NoCapacity)
    await azure.gate.resume("sp-1")
    assert (await azure.is_(READY)).error is None


async def test_a_refusal_at_waking_is_raised(azure: Site) -> None:
    await azure.asleep()
    azure.arm.faults.add(presets.sku_not_available(kind=START, match=None))
    with pytest.raises(NoCapacity):
        await azure.gate.resume("sp-1")
    assert (await azure.gate.get("sp-1")).status is SUSPENDED


async def test_all_nodes_sleep_together(azure: Site) -> None:
    await azure.asleep(count=2)
    azure.arm.faults.add(presets.allocation_failed(kind=START, match=presets.of_name("sp-1-1")))
    await azure.gate.resume("sp-1")
    found = await azure.core.until(
        azure.gate,
        "sp-1",
        lambda found: found is not None and found.status is SUSPENDED and found.error is not None,
    )
    assert found is not None
    assert {azure.arm.vm(f"sp-1-{n}").hidden["power"] for n in (0, 1)} == {"deallocated"}
    await azure.gate.resume("sp-1")
    assert len((await azure.is_(READY)).nodes) == 2


async def test_a_suspend_whose_answer_is_lost_is_no_eviction(bare: Site) -> None:
    await bare.start(fleet_interval=0.1)
    await bare.ready(suspendable=True, spot=True)
    bare.arm.faults.add(presets.lost_answer(DEALLOCATE))
    with pytest.raises(GateUnavailable):
        await bare.gate.suspend("sp-1")
    assert (await bare.is_(SUSPENDED)).error is None


async def test_a_sleeping_partition_is_known_after_a_restart(azure: Site) -> None:
    await azure.asleep()
    await azure.restart()
    assert (await azure.gate.get("sp-1")).status is SUSPENDED
    await azure.gate.resume("sp-1")
    await azure.is_(READY)


async def test_a_sleeping_partition_can_be_deleted(azure: Site) -> None:
    await azure.asleep()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_what_does_not_exist_can_neither_sleep_nor_wake(azure: Site) -> None:
    for call in (azure.gate.suspend, azure.gate.resume):
        with pytest.raises(PartitionNotFound):
            await call("sp-9")


async def test_a_partition_that_somebody_deleted_in_its_sleep_is_not_found(azure: Site) -> None:
    await azure.asleep()
    azure.arm.resources.delete(azure.arm.vm("sp-1").id)
    with pytest.raises(PartitionNotFound):
        await azure.gate.resume("sp-1")


async def test_memory_is_kept_where_that_is_wished(bare: Site) -> None:
    await bare.start(hibernate=True)
    await bare.asleep()
    assert bare.arm.vm("sp-1").hidden["hibernated"] is True
    await bare.gate.resume("sp-1")
    await bare.is_(READY)


async def test_a_machine_that_cannot_hibernate_sleeps_without_its_memory(bare: Site) -> None:
    await bare.start(hibernate=True)
    await bare.ready(suspendable=True)
    bare.arm.faults.add(presets.lro_failure("VMHibernateFailed", "no", kind=DEALLOCATE))
    await bare.gate.suspend("sp-1")
    await bare.is_(SUSPENDED)
    assert bare.arm.vm("sp-1").hidden["hibernated"] is False


# -- taken back, or switched off ---------------------------------------------------------------


async def test_an_eviction_that_deletes_is_seen(azure: Site) -> None:
    await azure.ready(spot=True)
    await azure.arm.evict("sp-1", 0)
    assert isinstance((await azure.is_(FAILED)).error, Preempted)
    await azure.gate.delete("sp-1")
    await azure.gone()


async def test_an_eviction_that_deallocates_is_seen(azure: Site) -> None:
    await azure.ready(spot=True, suspendable=True)
    await azure.arm.evict("sp-1", 0)
    assert azure.arm.vm("sp-1").hidden["power"] == "deallocated"
    assert isinstance((await azure.is_(SUSPENDED)).error, Preempted)
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_our_own_removal_is_no_eviction(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.ready(spot=True)
    await bare.gate.delete("sp-1")
    await bare.gone()


async def test_a_spot_machine_that_sleeps_is_not_evicted(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.asleep(spot=True)
    await bare.ready("sp-2")
    bare.arm.calls.clear()
    await eventually(lambda: bare.arm.calls.count("virtualMachines.listAll") > 2, "two looks")
    assert (await bare.gate.get("sp-1")).status is SUSPENDED


async def test_a_machine_that_stopped_itself_has_failed(azure: Site) -> None:
    await azure.ready()
    stop_inside(azure)
    error = (await azure.is_(FAILED)).error
    assert type(error) is GateError
    assert "stopped itself" in error.message


async def test_a_machine_that_can_sleep_and_stopped_itself_is_put_to_sleep(azure: Site) -> None:
    await azure.ready(suspendable=True)
    stop_inside(azure)
    assert (await azure.is_(SUSPENDED)).error is None
    assert azure.arm.vm("sp-1").hidden["power"] == "deallocated"


async def test_a_machine_that_somebody_deleted_has_failed(azure: Site) -> None:
    await azure.ready()
    azure.arm.resources.delete(azure.arm.vm("sp-1").id)
    error = (await azure.is_(FAILED)).error
    assert type(error) is GateError
    assert "deleted by somebody else" in error.message


async def test_a_failed_sleep_leaves_the_partition_awake(azure: Site) -> None:
    await azure.ready(suspendable=True)
    azure.arm.faults.add(presets.lro_failure(kind=DEALLOCATE))
    await azure.gate.suspend("sp-1")
    found = await azure.is_(READY)
    assert found.error is None
    await azure.gate.suspend("sp-1")
    await azure.is_(SUSPENDED)
