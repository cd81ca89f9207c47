"""Jobs on a site that makes its nodes on demand: made once, used, and verified gone."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyport_core.model import JobState
from tests.infra.desk import Desk, OpenDesk
from tests.infra.elastic import Fault, inject
from tests.infra.wait import eventually

SITE = """
c.SkyPortCore.gates = {"cloud": "tests.infra.elastic:ElasticTestGate"}
c.SkyPortCore.stop_grace = 0.5
c.SkyPortCore.reap_interval = 1
c.ElasticTestGate.call_timeout = 2
"""


def gate_home(desk: Desk) -> Path:
    """The folder of the site's gate."""
    return desk.core.home / "gates/cloud"


def at_the_site(desk: Desk) -> list[Path]:
    """What exists at the site now, as its own files say."""
    return list((gate_home(desk) / "partitions").glob("*.json"))


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    """A core whose only site is elastic."""
    return await open_desk(SITE)


async def test_job_runs_on_a_node_made_for_it_which_is_gone_afterwards(desk: Desk) -> None:
    job_id = await desk.submit("sh", "-c", "echo hi")
    job = await desk.end(job_id)
    assert job.state is JobState.FINISHED
    assert await desk.log(job_id) == "hi\n"
    assert at_the_site(desk) == []


async def test_cheapest_flavor_that_fits_is_made(desk: Desk) -> None:
    job_id = await desk.submit("true", cpus=2)
    await desk.end(job_id)
    messages = [event.message for event in await desk.events(job_id)]
    assert any("large" in message for message in messages)


async def test_no_capacity_sends_the_job_to_the_next_offer(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "NoCapacity", "small"))
    job_id = await desk.submit("true")
    job = await desk.end(job_id)
    assert job.state is JobState.FINISHED
    assert any(event.reason == "place_failed" for event in await desk.events(job_id))


async def test_node_that_fails_to_boot_is_removed_and_replaced(desk: Desk) -> None:
    inject(gate_home(desk), Fault("boot", "NoCapacity", "small"))
    job = await desk.end(await desk.submit("true"))
    assert job.state is JobState.FINISHED
    assert await eventually(lambda: not at_the_site(desk), "site empty")


async def test_lost_answer_of_a_creation_makes_nothing_twice(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "lost_answer"))
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    assert len(at_the_site(desk)) == 1


async def test_gate_that_hangs_is_given_up_and_asked_again(desk: Desk) -> None:
    inject(gate_home(desk), Fault("create", "lost_hang"))
    job_id = await desk.submit("true")
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert at_the_site(desk) == []


async def test_deletion_is_retried_until_it_is_seen_gone(desk: Desk) -> None:
    inject(gate_home(desk), Fault("delete", "GateUnavailable"), times=3)
    job = await desk.end(await desk.submit("true"))
    assert job.state is JobState.FINISHED
    assert at_the_site(desk) == []


async def test_cancel_while_the_node_is_being_made_removes_it(open_desk: OpenDesk) -> None:
    desk = await open_desk(SITE + "c.ElasticTestGate.delay = 600")
    job_id = await desk.submit("true")
    await eventually(lambda: at_the_site(desk), "partition accepted")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is JobState.CANCELLED
    assert at_the_site(desk) == []


async def test_node_that_is_never_ready_fails_the_job_and_is_removed(open_desk: OpenDesk) -> None:
    desk = await open_desk(
        SITE + "c.ElasticTestGate.delay = 600\nc.SkyPortCore.partition_timeout = 2"
    )
    job = await desk.end(await desk.submit("true"), timeout=40)
    assert job.state is JobState.FAILED
    assert await eventually(lambda: not at_the_site(desk), "site empty")


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("state", ["ALLOCATING", "STAGING", "COLLECTING", "FINISHED"])
async def test_killed_core_loses_no_node(open_desk: OpenDesk, moment: str, state: str) -> None:
    desk = await open_desk(SITE, fault=f"{moment}:{state}")
    job_id = await desk.submit("true")
    await desk.core.wait_fault()
    await desk.core.start()
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await eventually(lambda: not at_the_site(desk), "site empty")


async def test_reaper_removes_what_is_in_no_record(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    real = at_the_site(desk)[0]
    stray = real.with_name("skyport-stray.json")
    stray.write_text(real.read_text().replace(real.stem, "skyport-stray"))
    await eventually(lambda: not stray.exists(), "stray partition removed")
    assert real.exists()
