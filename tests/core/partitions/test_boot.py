"""Machines that do not come up: tried elsewhere a few times, then the job fails with their log."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, asleep, at_the_site, gate_home
from tests.infra.desk import Desk, opened
from tests.infra.elastic import Fault, clear_faults, inject
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

HASTY = """
c.SkyPortCore.partition_timeout = 5
c.SkyPortCore.boot_timeout = 3
c.ElasticTestGate.sizes = {name: (1.0, 1024, 0.1) for name in "abcdefghijklmnopqrstuvwxyz"}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """A core with little patience, whose site has many offers."""
    async with opened(SITE + HASTY) as desk:
        gate_home(desk).joinpath("console.txt").write_text("kernel starts\ncloud-init: no disk\n")
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without jobs and faults of a test before."""
    yield core_of_all
    await core_of_all.core.cancel_all()
    clear_faults(gate_home(core_of_all))


async def test_machine_that_lets_nobody_in_is_replaced_and_its_log_kept(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "deaf"))
    job_id = await desk.submit("true")
    assert (await desk.end(job_id)).state is JobState.FINISHED
    [event] = [event for event in await desk.events(job_id) if event.reason == "boot"]
    assert "within 3 s" in event.message and "cloud-init: no disk" in event.hint
    boot_log = desk.core.home / "jobs" / job_id / "boot.log"
    assert boot_log.read_text().startswith("kernel starts")


async def test_job_fails_after_three_machines_that_let_nobody_in(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "deaf"), times=3)
    job = await desk.end(await desk.submit("true"), timeout=30)
    assert job.failure is not None and job.failure.reason == "boot"
    assert job.failure.log_tail.endswith("cloud-init: no disk")
    await eventually(lambda: not at_the_site(desk), "site empty")


async def test_machine_that_fails_while_it_boots_is_replaced_with_its_log_kept(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "GateError"))
    job_id = await desk.submit("true")
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert [event.reason for event in await desk.events(job_id)].count("boot") == 1
    assert (
        await desk.log(job_id, "boot")
        == (desk.core.home / "jobs" / job_id / "boot.log").read_text()
    )


async def test_machine_that_is_never_ready_is_replaced(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "hang"))
    job_id = await desk.submit("true")
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert any(event.reason == "boot" for event in await desk.events(job_id))


async def test_cancel_while_nobody_can_log_in_ends_at_once(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "deaf"))
    job_id = await desk.submit("true")
    await eventually(lambda: _node_up(desk, job_id), "node of the job")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id, timeout=5)).state is JobState.CANCELLED
    assert at_the_site(desk) == []


async def test_throttled_site_is_left_alone_for_as_long_as_it_says(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "Throttled", retry_after=1.5))
    begin = time.monotonic()
    job_id = await desk.submit("true")
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert time.monotonic() - begin > 1.5
    reasons = [event.reason for event in await desk.events(job_id)]
    assert not {"place_failed", "no_capacity", "boot"} & set(reasons)


async def test_gate_that_stays_away_is_given_up_at_the_deadline_with_its_words(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "GateUnavailable"), times=9)
    job_id = await desk.submit("true")

    async def told() -> str:
        messages = [event.message for event in await desk.events(job_id)]
        return next((text for text in messages if "create failed" in text), "")

    assert "within 5 s" in await eventually(told, "the gate's words in an event")


async def test_kept_machine_that_cannot_be_woken_in_time_did_not_fail_to_boot(desk: Desk) -> None:
    await desk.end(await desk.submit("true", keep="box"))
    await asleep(desk)
    inject(gate_home(desk), Fault("resume", "GateUnavailable"), times=99)
    job_id = await desk.submit("true", keep="box")

    async def told() -> str:
        events = await desk.events(job_id)
        return next((event.reason for event in events if "within 5 s" in event.message), "")

    assert await eventually(told, "the end of the core's patience") == "place_failed"
    clear_faults(gate_home(desk))
    assert (await desk.end(job_id)).state is JobState.FINISHED


async def test_offer_that_is_impossible_is_not_asked_for_again(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "InvalidRequest", flavor="z"))
    job_id = await desk.submit("true", flavor="z")
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "impossible"


async def test_jobs_wait_while_the_account_lacks_a_right(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "NotAuthorized"))
    job_id = await desk.submit("true")

    async def waits() -> bool:
        job = await desk.job(job_id)
        return job.position is not None and "create failed" in job.wait_reason

    await eventually(waits, "the site's fault as the reason to wait")
    assert at_the_site(desk) == []


async def _node_up(desk: Desk, job_id: str) -> bool:
    return any(event.reason == "node_up" for event in await desk.events(job_id))
