"""Jobs on a site that makes its nodes on demand: made once, used, and verified gone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, at_the_site, gate_home
from tests.infra.desk import Desk, opened
from tests.infra.elastic import Fault, clear_faults, inject
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """One core for all tests here, whose only site is elastic."""
    async with opened(SITE) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without jobs and faults of a test before."""
    yield core_of_all
    await core_of_all.core.cancel_all()
    clear_faults(gate_home(core_of_all))


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
    assert any(event.reason == "no_capacity" for event in await desk.events(job_id))


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


async def test_reaper_removes_what_is_in_no_record(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    real = at_the_site(desk)[0]
    stray = real.with_name("skyport-stray.json")
    stray.write_text(real.read_text().replace(real.stem, "skyport-stray"))
    await eventually(lambda: not stray.exists(), "stray partition removed")
    assert real.exists()


async def test_reaper_leaves_alone_what_carries_another_cores_tag(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    real = at_the_site(desk)[0]
    fields = json.loads(real.read_text())
    foreign = fields | {"name": "foreign", "tags": {"skyport-core": "another"}}
    real.with_name("foreign.json").write_text(json.dumps(foreign))
    stray = real.with_name("stray.json")
    stray.write_text(json.dumps(fields | {"name": "stray"}))
    await eventually(lambda: not stray.exists(), "stray partition removed")
    assert real.with_name("foreign.json").exists()
    real.with_name("foreign.json").unlink()


async def test_partition_that_appears_after_its_end_is_removed(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    late = at_the_site(desk)[0]
    text = late.read_text()
    await desk.client.delete_job(job_id)
    await desk.end(job_id)
    late.write_text(text)
    await eventually(lambda: not late.exists(), "late partition removed")


async def test_reaper_goes_on_when_one_removal_fails(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    real = at_the_site(desk)[0]
    fields = json.loads(real.read_text())
    inject(gate_home(desk), Fault("delete", "GateUnavailable"))
    strays = [real.with_name(f"stray-{number}.json") for number in range(3)]
    for path in strays:
        path.write_text(json.dumps(fields | {"name": path.stem}))
    await eventually(lambda: not any(path.exists() for path in strays), "strays removed")
