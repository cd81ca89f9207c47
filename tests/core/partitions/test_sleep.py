"""Machines that their owners keep: asleep between jobs, woken with their files."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, asleep, at_the_site, gate_home, statuses
from tests.infra.desk import Desk, opened
from tests.infra.elastic import Fault, clear_faults, inject, records
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """One core for all tests here."""
    async with opened(SITE) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without jobs and faults of a test before."""
    yield core_of_all
    await core_of_all.core.cancel_all()
    clear_faults(gate_home(core_of_all))


async def test_kept_machine_sleeps_after_its_job_and_wakes_with_its_files(desk: Desk) -> None:
    first = await desk.submit("sh", "-c", "echo 42 > ~/answer", keep="box")
    assert (await desk.end(first)).state is JobState.FINISHED
    await asleep(desk)
    [before] = records(gate_home(desk))
    last = (await desk.events(first))[-1]
    assert "keep=box" in last.message
    second = await desk.submit("sh", "-c", "cat ~/answer", keep="box")
    assert (await desk.end(second)).state is JobState.FINISHED
    assert await desk.log(second) == "42\n"
    [after] = records(gate_home(desk))
    assert after.name == before.name


async def test_cancelled_job_lets_its_machine_sleep(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600", keep="cancelled")
    await desk.reach(job_id, JobState.RUNNING)
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is JobState.CANCELLED
    await asleep(desk)


async def test_machine_that_nobody_used_yet_is_not_kept(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "hang"))
    job_id = await desk.submit("true", keep="unused")
    await eventually(lambda: at_the_site(desk), "partition accepted")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is JobState.CANCELLED
    assert at_the_site(desk) == []


@pytest.mark.parametrize("call", ["resume", "wake"])
async def test_no_room_for_a_sleeping_machine_makes_its_job_wait(desk: Desk, call: str) -> None:
    keep = f"waits-{call}"
    await desk.end(await desk.submit("sh", "-c", "echo here > ~/mark", keep=keep))
    await asleep(desk)
    inject(gate_home(desk), Fault(call, "NoCapacity", retry_after=1.0))
    job_id = await desk.submit("cat", "mark", keep=keep)
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await desk.log(job_id) == "here\n"
    [event] = [event for event in await desk.events(job_id) if event.reason == "no_capacity"]
    assert "is kept" in event.hint


async def test_cancel_while_a_kept_machine_wakes_lets_it_sleep_on(desk: Desk) -> None:
    await desk.end(await desk.submit("true", keep="waking"))
    await asleep(desk)
    inject(gate_home(desk), Fault("wake", "hang"))
    job_id = await desk.submit("true", keep="waking")
    await eventually(lambda: statuses(desk) == ["creating"], "machine waking")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is JobState.CANCELLED
    await asleep(desk)


async def test_machine_woken_behind_the_cores_back_is_put_to_sleep(desk: Desk) -> None:
    await desk.end(await desk.submit("true", keep="stray"))
    await asleep(desk)
    [path] = at_the_site(desk)
    _rewrite(path, status="creating")
    await eventually(lambda: "creating" not in path.read_text(), "machine awake or asleep again")
    await asleep(desk)


def _rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
