"""Spot machines that are taken back: results are saved, and the job goes on as it asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, asleep, at_the_site, gate_home
from tests.core.partitions.spot import SPOT, started, take_back, told
from tests.infra.desk import Desk, opened
from tests.infra.elastic import clear_faults, records
from tests.infra.wait import eventually

FORGED = """
for i in 1 2 3 4 5 6 7 8 9 10; do
    for fifo in ~/.skyport/watch/*; do
        echo notice preempt $(($(date +%s) + 60)) 1<> "$fifo"
    done
    sleep 0.1
done
"""
"""A job that tells its core that its machine is taken back."""

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """One core for all tests here, whose only site has spot machines."""
    async with opened(SITE + SPOT) as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without jobs and faults of a test before."""
    yield core_of_all
    await core_of_all.core.cancel_all()
    clear_faults(gate_home(core_of_all))


async def test_moved_job_finds_its_saved_results_on_the_next_machine(
    desk: Desk, tmp_path: Path
) -> None:
    job_id = await started(desk, tmp_path / "runs", on_eviction="move")
    await take_back(desk, notice=20)
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await desk.log(job_id) == "saved\n"
    saving, moving = await told(desk, job_id)
    assert saving.message.startswith("cloud takes this spot machine back in ")
    assert "1 result files are saved" in moving.message
    await eventually(lambda: not at_the_site(desk), "site empty")


async def test_requeued_job_starts_over_without_the_files(desk: Desk, tmp_path: Path) -> None:
    job_id = await started(desk, tmp_path / "runs")
    await take_back(desk, notice=20)
    job = await desk.end(job_id)
    assert job.failure is not None and "No such file" in await desk.log(job_id, "stderr")


async def test_job_that_wants_to_fail_does_so_with_its_results_saved(
    desk: Desk, tmp_path: Path
) -> None:
    job_id = await started(desk, tmp_path / "runs", on_eviction="fail")
    await take_back(desk, notice=20)
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "preempted"
    saved = desk.core.home / "jobs" / job_id / "files/out"
    assert saved.read_text() == "saved\n" and saved.stat().st_mode & 0o777 == 0o640


async def test_machine_that_goes_without_notice_moves_its_job_too(
    desk: Desk, tmp_path: Path
) -> None:
    job_id = await started(desk, tmp_path / "runs", on_eviction="fail")
    await take_back(desk)
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "preempted"
    assert "without notice" in job.failure.message


async def test_too_little_time_is_told(desk: Desk, tmp_path: Path) -> None:
    job_id = await started(desk, tmp_path / "runs", on_eviction="fail")
    await take_back(desk, notice=1)
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "preempted"
    assert "no time to save" in job.failure.message


async def test_cancel_while_results_are_saved_wins(desk: Desk, tmp_path: Path) -> None:
    up = tmp_path / "up"
    script = f"trap '' TERM; touch {up}; while :; do sleep 0.1; done"
    job_id = await desk.submit("sh", "-c", script, spot=True)
    await eventually(up.exists, "the job's start", 20)
    await desk.reach(job_id, JobState.RUNNING)
    await take_back(desk, notice=30)
    await desk.reach(job_id, JobState.COLLECTING)
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id, timeout=10)).state is JobState.CANCELLED


async def test_server_comes_back_at_the_same_address(desk: Desk) -> None:
    job_id = await desk.serve(spot=True)
    before = await desk.reach(job_id, JobState.RUNNING)
    [first] = records(gate_home(desk))
    await take_back(desk, notice=20)

    async def back() -> bool:
        job = await desk.job(job_id)
        return job.state is JobState.RUNNING and first.name not in str(job.node)

    await eventually(back, "server on another machine", 20)
    after = await desk.job(job_id)
    assert after.address == before.address and after.address is not None
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://{after.address.host}:{after.address.port}/")
        assert answer.status == 200


async def test_notice_of_a_machine_keeps_its_offer_from_nobody(desk: Desk, tmp_path: Path) -> None:
    job_id = await started(desk, tmp_path / "runs", on_eviction="move")
    [first] = records(gate_home(desk))
    await take_back(desk, notice=20)
    await desk.end(job_id)
    assert await _flavor_of_the_next_job(desk) == first.flavor


async def test_offer_that_the_site_took_back_is_not_used_for_a_while(
    desk: Desk, tmp_path: Path
) -> None:
    job_id = await started(desk, tmp_path / "runs")
    [first] = records(gate_home(desk))
    await take_back(desk)
    await desk.end(job_id)
    assert await _flavor_of_the_next_job(desk) != first.flavor


async def _flavor_of_the_next_job(desk: Desk) -> str:
    job_id = await desk.submit("sleep", "600", spot=True)
    await desk.reach(job_id, JobState.RUNNING)
    [record] = [record for record in records(gate_home(desk)) if record.status == "ready"]
    return record.flavor


async def test_notice_of_a_machine_that_is_not_spot_is_not_believed(desk: Desk) -> None:
    job_id = await desk.submit("sh", "-c", FORGED, spot=False)
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await told(desk, job_id) == []


async def test_kept_machine_that_is_taken_back_sleeps_and_its_job_waits(
    desk: Desk, tmp_path: Path
) -> None:
    job_id = await started(desk, tmp_path / "runs", keep="box")
    await take_back(desk)
    await asleep(desk)

    async def waits() -> bool:
        job = await desk.job(job_id)
        return job.state is JobState.QUEUED and "cannot be woken yet" in job.wait_reason

    await eventually(waits, "reason to wait")
    assert (tmp_path / "runs").read_text() == "run\n"
