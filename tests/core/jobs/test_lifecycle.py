"""What becomes of a job, on a real core with this machine as its site."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.infra.desk import Desk, opened
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING, FINISHED = JobState.RUNNING, JobState.FINISHED
FAILED, CANCELLED = JobState.FAILED, JobState.CANCELLED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """One core for all tests here."""
    async with opened("c.SkyPortCore.stop_grace = 0.5\nc.LocalGate.cpus = 64") as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without a job that a test before left running."""
    yield core_of_all
    await core_of_all.core.cancel_all()


def left_on_node(desk: Desk) -> list[Path]:
    """Folders of jobs on this machine's site."""
    return list(desk.core.home.glob("gates/local/homes/*/.skyport/jobs/*"))


async def _logged(desk: Desk, job_id: str, text: str) -> bool:
    return text in await desk.log(job_id)


async def test_batch_job_finishes_with_its_output(desk: Desk) -> None:
    job_id = await desk.submit("sh", "-c", "echo out; echo err >&2")
    job = await desk.end(job_id)
    assert (job.state, job.exit_code) == (FINISHED, 0)
    assert await desk.log(job_id) == "out\n"
    assert await desk.log(job_id, "stderr") == "err\n"
    assert left_on_node(desk) == []


async def test_failing_job_tells_status_and_last_words(desk: Desk) -> None:
    job = await desk.end(await desk.submit("sh", "-c", "echo the cause >&2; exit 3"))
    assert (job.state, job.exit_code) == (FAILED, 3)
    assert job.failure is not None and job.failure.reason == "exit"
    assert "exit status 3" in job.failure.message
    assert job.failure.log_tail == "the cause"


async def test_server_is_running_only_once_it_answers(desk: Desk) -> None:
    job_id = await desk.serve()
    job = await desk.reach(job_id, RUNNING)
    assert job.address is not None
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"http://{job.address.host}:{job.address.port}/")
        assert answer.status == 200
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is CANCELLED
    with pytest.raises(OSError):
        await asyncio.open_connection(job.address.host, job.address.port)
    assert left_on_node(desk) == []


async def test_server_that_exits_at_once_fails_with_its_log(desk: Desk) -> None:
    job = await desk.end(await desk.serve("echo no licence; exit 4"))
    assert job.failure is not None
    assert (job.failure.reason, job.failure.log_tail) == ("exit", "no licence")


async def test_server_that_ends_well_before_it_answers_fails_too(desk: Desk) -> None:
    job = await desk.end(await desk.serve("echo bye"))
    assert job.state is FAILED
    assert job.failure is not None and job.failure.reason == "exited_early"


async def test_server_that_never_answers_fails_at_its_deadline(desk: Desk) -> None:
    job = await desk.end(await desk.serve("echo thinking; sleep 600", start_timeout=2))
    assert job.failure is not None and job.failure.reason == "starting_timeout"
    assert "did not answer within 2 s" in job.failure.message
    assert job.failure.log_tail == "thinking"


async def test_missing_command_is_named(desk: Desk) -> None:
    job = await desk.end(await desk.submit("no-such-program"))
    assert job.failure is not None and job.failure.reason == "command_not_found"
    assert "'no-such-program'" in job.failure.message


async def test_walltime_ends_the_job(desk: Desk) -> None:
    job = await desk.end(await desk.submit("sleep", "600", walltime=1))
    assert job.failure is not None and job.failure.reason == "walltime"


async def test_job_that_needs_more_than_any_node_fails_at_once(desk: Desk) -> None:
    job = await desk.end(await desk.submit("true", cpus=5000))
    assert job.failure is not None and job.failure.reason == "impossible"
    assert "5000 cpus" in job.failure.message


async def test_cancel_while_starting(desk: Desk) -> None:
    job_id = await desk.serve("sleep 600")
    await desk.reach(job_id, JobState.STARTING)
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id, timeout=10)).state is CANCELLED
    assert left_on_node(desk) == []


async def test_cancel_twice_is_one_cancel(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, RUNNING)
    await asyncio.gather(*(desk.client.delete_job(job_id) for _ in range(5)))
    await desk.end(job_id)
    reasons = [event.reason for event in await desk.events(job_id)]
    assert reasons.count("cancelled") == 1


async def test_job_deleted_before_it_was_put_never_runs(desk: Desk) -> None:
    job_id = str(uuid.uuid4())
    assert await desk.client.delete_job(job_id) is None
    with pytest.raises(Exception, match="deleted"):
        await desk.submit("true", job_id=job_id)
    assert await desk.client.get_job(job_id) is None


async def test_job_that_ignores_the_request_to_end_is_killed(desk: Desk) -> None:
    job_id = await desk.submit("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.2; done")
    await eventually(lambda: _logged(desk, job_id, "up"), "first output")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id, timeout=15)).state is CANCELLED


async def test_log_can_be_read_while_the_job_runs(desk: Desk) -> None:
    job_id = await desk.submit("sh", "-c", "echo early; sleep 600")
    await eventually(lambda: _logged(desk, job_id, "early"), "output of the running job")
    assert not (await desk.job(job_id)).state.final


async def test_outputs_come_home(desk: Desk) -> None:
    job_id = await desk.submit(
        "sh", "-c", "mkdir -p out; echo 42 > out/answer; echo no > other",
        workdir="work", outputs=["out/*"],
    )  # fmt: skip
    assert (await desk.end(job_id)).state is FINISHED
    files = desk.core.home / "jobs" / job_id / "files"
    assert (files / "out/answer").read_text() == "42\n"
    assert not (files / "other").exists()


async def test_environment_arrives_to_the_letter(desk: Desk) -> None:
    value = "a 'b' \"c\" $D `e` {address} \\ \n ü"
    job_id = await desk.submit("sh", "-c", 'printf %s "$VALUE"', environment={"VALUE": value})
    await desk.end(job_id)
    assert await desk.log(job_id) == value


async def test_address_taken_on_the_node_is_told(desk: Desk) -> None:
    import socket

    from skyport_core.model import node_address, preferred_number

    job_id = str(uuid.uuid4())
    with socket.create_server((node_address(preferred_number(job_id)), 8888)):
        await desk.serve(job_id=job_id)
        job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "address_in_use"
    assert job.failure.hint


async def test_address_taken_at_the_core_is_told(desk: Desk) -> None:
    import socket

    from skyport_core.model import core_address, preferred_number

    job_id = str(uuid.uuid4())
    with socket.create_server((core_address(preferred_number(job_id)), 8888)):
        await desk.serve(job_id=job_id)
        job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "address_in_use"


async def test_progress_never_goes_back(desk: Desk) -> None:
    job_id = await desk.serve()
    await desk.reach(job_id, RUNNING)
    await desk.client.delete_job(job_id)
    await desk.end(job_id)
    progress = [event.progress for event in await desk.events(job_id)]
    assert progress == sorted(progress) and progress[-1] == 100


async def test_unknown_site_is_refused(desk: Desk) -> None:
    with pytest.raises(Exception, match="allowed: local"):
        await desk.submit("true", site="nowhere")
