"""What may be done with jobs once they are submitted, on a real core with this machine as site."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from skyport_core.model import JobState
from skyport_core.wire import JobView
from tests.core.api.served import Answer, Http
from tests.infra.desk import Desk, opened
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING, FINISHED, FAILED = JobState.RUNNING, JobState.FINISHED, JobState.FAILED


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


@pytest_asyncio.fixture(loop_scope="module")
async def http(desk: Desk) -> AsyncIterator[Http]:
    async with Http(desk.core.home / "core.sock") as http:
        yield http


async def submit(http: Http, script: str, **wish: object) -> str:
    body = {"owner": "ann", "script": f"#!/bin/sh\n{script}\n", **wish}
    answer = await http("POST", "/jobs", json=body)
    assert answer.status == 201, answer.body
    job_id: str = answer.json["id"]
    return job_id


async def told(desk: Desk, job_id: str) -> list[str]:
    return [event.reason for event in await desk.events(job_id)]


async def waits(desk: Desk, job_id: str, words: str) -> None:
    async def there() -> bool:
        return words in (await desk.job(job_id)).wait_reason

    await eventually(there, f"wait reason {words!r}")


async def test_a_script_runs_with_its_directives_and_arguments(desk: Desk, http: Http) -> None:
    text = "#SWM name greeting\necho hello $1"
    job = await desk.end(await submit(http, text, arguments=["you"]))
    assert (job.state, job.name, job.scripted) == (FINISHED, "greeting", True)
    assert await desk.log(job.id) == "hello you\n"


async def test_a_running_job_starts_over_without_its_results(desk: Desk, http: Http) -> None:
    script = 'echo life; [ "$(cat ~/lives 2>/dev/null)" ] && exit 0; echo 1 > ~/lives; sleep 600'
    job_id = await submit(http, script)
    await desk.reach(job_id, RUNNING)

    async def alive() -> bool:
        return "life" in await desk.log(job_id)

    await eventually(alive, "first life")
    answer = await http("POST", f"/jobs/{job_id}/requeue")
    assert answer.status == 202
    job = await desk.end(job_id)
    assert (job.state, job.attempt) == (FINISHED, 1)
    assert await desk.log(job_id) == "life\n"
    reasons = await told(desk, job_id)
    assert reasons.index("requeue") < reasons.index("requeued") < reasons.index("finished")


async def test_an_ended_job_starts_over(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "echo once more")
    await desk.end(job_id)
    answer = await http("POST", f"/jobs/{job_id}/requeue")
    assert (answer.status, answer.json["state"], answer.json["ended_at"]) == (202, "QUEUED", None)
    job = await desk.end(job_id)
    assert (job.state, job.attempt) == (FINISHED, 1)
    assert await desk.log(job_id) == "once more\n"


async def test_a_job_whose_secrets_are_gone_does_not_start_over(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "true", environment={"TOKEN": "x"})
    await desk.end(job_id)
    answer = await http("POST", f"/jobs/{job_id}/requeue")
    assert (answer.status, answer.error["code"]) == (409, "wrong_state")
    assert "secrets" in answer.error["message"]


async def test_a_running_job_is_given_more_time(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "sleep 3", walltime=2)
    await desk.reach(job_id, RUNNING)
    answer = await http("PATCH", f"/jobs/{job_id}", json={"walltime": 60})
    assert (answer.status, answer.json["walltime"]) == (200, 60)
    job = await desk.end(job_id)
    assert (job.state, job.failure) == (FINISHED, None)
    assert "walltime_told" in await told(desk, job_id)


async def test_a_running_job_is_not_given_less_time(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "sleep 600", walltime=60)
    await desk.reach(job_id, RUNNING)
    answer = await http("PATCH", f"/jobs/{job_id}", json={"walltime": 30})
    assert (answer.status, answer.error["field"]) == (409, "walltime")


async def test_a_held_job_waits_until_it_is_released(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "true", hold=True)
    await waits(desk, job_id, "Held")
    answer = await http("PATCH", f"/jobs/{job_id}", json={"held": False})
    assert (answer.status, answer.json["held"]) == (200, False)
    assert (await desk.end(job_id)).state is FINISHED


async def test_a_job_waits_for_the_one_that_it_depends_on(desk: Desk, http: Http) -> None:
    first = await submit(http, "true", hold=True)
    second = await submit(http, "true", dependencies=[{"job": first}])
    await waits(desk, second, f"Waits until job {first} has finished")
    await http("PATCH", f"/jobs/{first}", json={"held": False})
    assert (await desk.end(second)).state is FINISHED
    assert (await desk.job(first)).state is FINISHED


async def test_a_job_that_depends_on_what_failed_fails(desk: Desk, http: Http) -> None:
    first = await submit(http, "exit 1")
    await desk.end(first)
    second = await submit(http, "true", dependencies=[{"job": first}])
    failure = (await desk.end(second)).failure
    assert failure is not None and failure.reason == "dependency"
    assert first in failure.message
    third = await submit(http, "true", dependencies=[{"job": first, "when": "afternotok"}])
    assert (await desk.end(third)).state is FINISHED


async def test_a_dependency_must_exist(http: Http) -> None:
    unknown = str(uuid.uuid4())
    body = {"owner": "ann", "command": ["true"], "dependencies": [{"job": unknown}]}
    answer = await http("POST", "/jobs", json=body)
    assert (answer.status, answer.error["field"]) == (422, "dependencies.0.job")


async def array_of(http: Http, job_id: str) -> list[JobView]:
    answer = await http("GET", f"/jobs?array={job_id}")
    jobs = [JobView.model_validate(job) for job in answer.json["jobs"]]
    return sorted(jobs, key=lambda job: job.array_index or 0)


async def test_the_jobs_of_an_array_run_as_many_at_a_time_as_it_says(
    desk: Desk, http: Http
) -> None:
    job_id = await submit(http, "echo $SKYPORT_ARRAY_INDEX; sleep 600", array="1-3%2", cpus=0.1)
    first, second, third = await array_of(http, job_id)
    assert (first.id, first.array, third.array_index) == (job_id, job_id, 3)
    await desk.reach(first.id, RUNNING)
    await desk.reach(second.id, RUNNING)
    await waits(desk, third.id, "At most 2 jobs of its array")
    await http("DELETE", f"/jobs/{first.id}")
    await desk.reach(third.id, RUNNING)
    answer = await http("DELETE", f"/jobs/{second.id}?array=true")
    assert answer.status == 202
    assert (await desk.end(third.id)).state is JobState.CANCELLED


async def test_what_is_used_is_accounted_for(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "sleep 1", owner="meter", cpus=2)
    await desk.end(job_id)
    answer = await http("GET", "/usage?owner=meter&by=site&by=flavor")
    (row,) = answer.json["usage"]
    assert (row["site"], row["jobs"], row["owner"]) == ("local", 1, None)
    assert row["cpu_hours"] == pytest.approx(2 * row["job_hours"], rel=0.01)
    assert 1 / 3600 < row["job_hours"] < 20 / 3600


async def test_the_record_of_an_ended_job_goes_with_its_files(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "sleep 600")
    await desk.reach(job_id, RUNNING)
    assert (await http("DELETE", f"/jobs/{job_id}/record")).status == 409
    await desk.client.delete_job(job_id)
    await desk.end(job_id)
    assert (await http("DELETE", f"/jobs/{job_id}/record")).status == 204
    assert (await http("GET", f"/jobs/{job_id}")).status == 404
    assert not (desk.core.home / "jobs" / job_id).exists()


async def offers(http: Http, **wish: object) -> Answer:
    return await http("POST", "/offers", json={"owner": "ann", **wish})


async def test_a_dry_run_tells_where_a_job_would_go(http: Http) -> None:
    answer = await offers(http, cpus=1)
    assert answer.status == 200, answer.body
    assert answer.json["verdict"] == "starts"
    (place,) = answer.json["offers"]
    assert (place["site"], place["state"]) == ("local", "chosen")


async def test_a_dry_run_tells_when_a_busy_node_is_free(desk: Desk, http: Http) -> None:
    job_id = await submit(http, "sleep 600", cpus=64, walltime=500)
    running = await desk.reach(job_id, RUNNING)
    answer = (await offers(http, cpus=64)).json
    assert (answer["verdict"], answer["position"]) == ("waits", 1)
    (place,) = answer["offers"]
    assert place["state"] == "busy"
    assert running.expires_at is not None
    expected = running.model_dump(mode="json")["expires_at"]
    assert answer["start"] == place["start"] == expected


async def test_a_dry_run_tells_what_is_impossible(http: Http) -> None:
    answer = (await offers(http, cpus=5000)).json
    assert answer["verdict"] == "impossible"
    assert "No node can hold 5000 cpus" in answer["reason"]
    assert [place["state"] for place in answer["offers"]] == ["unsuitable"]
