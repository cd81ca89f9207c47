"""Machines that are kept, and cores that are killed while these fall asleep or wake."""

from __future__ import annotations

import asyncio

import pytest

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, asleep, at_the_site, gate_home, statuses
from tests.infra.desk import OpenDesk
from tests.infra.elastic import Fault, inject
from tests.infra.wait import eventually


async def test_machine_that_slept_for_too_long_is_deleted(open_desk: OpenDesk) -> None:
    desk = await open_desk(SITE + "c.SkyPortCore.keep_time = 1")
    await desk.end(await desk.submit("true", keep="old"))
    await eventually(lambda: not at_the_site(desk), "old machine deleted")


async def test_core_that_ends_leaves_no_kept_machine_awake(open_desk: OpenDesk) -> None:
    desk = await open_desk(SITE + "c.SkyPortCore.cancel_on_exit = True")
    job_id = await desk.submit("sleep", "600", keep="box")
    await desk.reach(job_id, JobState.RUNNING)
    inject(gate_home(desk), Fault("suspend", "GateUnavailable"), times=3)
    await desk.core.stop()
    assert statuses(desk) in (["suspending"], ["suspended"])
    await desk.core.start()
    await asleep(desk)


FAULTS = [
    "after:COLLECTING",
    "before:FINISHED",
    "after:FINISHED",
    "before:partition:SUSPENDED",
    "after:partition:SUSPENDED",
]


@pytest.mark.parametrize("fault", FAULTS)
async def test_core_killed_while_a_machine_goes_to_sleep_keeps_it(
    open_desk: OpenDesk, fault: str
) -> None:
    desk = await open_desk(SITE, fault=fault)
    job_id = await desk.submit("true", keep="box")
    await desk.core.wait_fault()
    await desk.core.start()
    assert (await desk.end(job_id)).state is JobState.FINISHED
    await asleep(desk)


@pytest.mark.parametrize("fault", ["before:partition:woken", "after:partition:woken"])
async def test_core_killed_while_a_machine_wakes_wakes_it_once(
    open_desk: OpenDesk, fault: str
) -> None:
    desk = await open_desk(SITE, fault=fault)
    await desk.end(await desk.submit("sh", "-c", "echo 42 > ~/answer", keep="box"))
    await asleep(desk)
    waking = asyncio.create_task(desk.submit("cat", "answer", keep="box"))
    await desk.core.wait_fault()
    await desk.core.start()
    job_id = await waking
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await desk.log(job_id) == "42\n"
    assert len(at_the_site(desk)) == 1
