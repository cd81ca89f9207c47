"""Jobs and what is around them: full nodes, drained nodes, cores that are killed."""

from __future__ import annotations

import contextlib

import aiohttp

from skyport_core.model import JobState
from skyport_core.wire import JobView
from tests.infra.desk import Desk, OpenDesk
from tests.infra.wait import eventually

RUNNING, FINISHED, CANCELLED = JobState.RUNNING, JobState.FINISHED, JobState.CANCELLED


async def _waiting(desk: Desk, job_id: str) -> JobView | None:
    job = await desk.job(job_id)
    return job if job.position else None


async def test_cancel_before_a_place_is_found(open_desk: OpenDesk) -> None:
    desk = await open_desk("c.LocalGate.cpus = 1")
    first = await desk.submit("sleep", "600")
    await desk.reach(first, RUNNING)
    second = await desk.submit("true")
    job = await eventually(lambda: _waiting(desk, second), "position in the queue")
    assert job.position == 1 and job.wait_reason
    await desk.client.delete_job(second)
    assert (await desk.end(second)).state is CANCELLED
    assert (await desk.job(first)).state is RUNNING


async def test_next_job_takes_the_place_of_one_that_ended(open_desk: OpenDesk) -> None:
    desk = await open_desk("c.LocalGate.cpus = 1")
    first, second = await desk.submit("sleep", "600"), await desk.submit("true")
    await eventually(lambda: _waiting(desk, second), "position in the queue")
    await desk.client.delete_job(first)
    assert (await desk.end(second)).state is FINISHED


async def test_secrets_are_dropped_at_the_end(desk: Desk) -> None:
    job_id = await desk.submit("true", environment={"TOKEN": "gX7-very-secret"})
    await desk.end(job_id)
    await desk.core.stop()
    for file in desk.core.home.rglob("*"):
        if file.is_file():
            assert b"gX7-very-secret" not in file.read_bytes(), file


async def test_drained_node_gets_no_job_until_resumed(desk: Desk) -> None:
    await eventually(desk.client.nodes, "nodes")
    await desk.client.drain("local", "localhost", "disk swap")
    job_id = await desk.submit("true")
    job = await eventually(lambda: _waiting(desk, job_id), "position in the queue")
    assert "disk swap" in job.wait_reason
    await desk.client.resume("local", "localhost")
    assert (await desk.end(job_id)).state is FINISHED


async def test_server_survives_a_restart_of_the_core_at_the_same_address(desk: Desk) -> None:
    job_id = await desk.serve()
    before = await desk.reach(job_id, RUNNING)
    await desk.core.kill9()
    await desk.core.start()
    after = await desk.job(job_id)
    assert (after.state, after.address) == (RUNNING, before.address)
    assert after.address is not None
    url = f"http://{after.address.host}:{after.address.port}/"

    async def answers() -> bool:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with aiohttp.ClientSession() as session, session.get(url) as answer:
                return answer.status == 200
        return False

    await eventually(answers, "answer of the server")


async def test_end_while_the_core_was_away_is_noticed(desk: Desk) -> None:
    script = 'until [ -e "$0" ]; do sleep 0.05; done; touch "$0.seen"; exit 5'
    go = desk.core.home / "go"
    job_id = await desk.submit("sh", "-c", script, str(go))
    await desk.reach(job_id, RUNNING)
    await desk.core.kill9()
    go.touch()
    await eventually(go.with_name("go.seen").exists, "the job's end")
    await desk.core.start()
    assert (await desk.end(job_id)).exit_code == 5
