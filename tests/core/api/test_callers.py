"""A caller sees and touches its own jobs; an admin all; only the trusted name another owner."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPServerRequest

from skyport_core.caller import Caller
from skyport_core.model import JobState

from .served import JOB, OTHER, Http, ServedCore

ALICE = {"X-Test-User": "alice"}
BOB = {"X-Test-User": "bob"}


async def identify(request: HTTPServerRequest) -> Caller:
    return Caller(request.headers["X-Test-User"])


@pytest.fixture
async def http(core: ServedCore, http: Http) -> Http:
    """A door for ordinary users, who say who they are."""
    core.application.settings["identify"] = identify
    await core.submit(JOB, "alice")
    return http


async def test_the_owner_sees_the_job(http: Http) -> None:
    assert (await http("GET", f"/jobs/{JOB}", headers=ALICE)).status == 200


@pytest.mark.parametrize("path", ["", "/events?follow=false", "/log"])
async def test_the_job_of_another_does_not_exist(http: Http, path: str) -> None:
    answer = await http("GET", f"/jobs/{JOB}{path}", headers=BOB)
    assert (answer.status, answer.error["code"]) == (404, "job_not_found")


async def test_the_job_of_another_cannot_be_cancelled(core: ServedCore, http: Http) -> None:
    assert (await http("DELETE", f"/jobs/{JOB}", headers=BOB)).status == 404
    job = await core.store.get_job(JOB)
    assert job is not None
    assert job.target is JobState.RUNNING


async def test_a_list_has_only_the_callers_jobs(core: ServedCore, http: Http) -> None:
    await core.submit(OTHER, "bob")
    answer = await http("GET", "/jobs", headers=BOB)
    assert [job["id"] for job in answer.json["jobs"]] == [OTHER]


async def test_a_list_of_anothers_jobs_is_refused(http: Http) -> None:
    answer = await http("GET", "/jobs?owner=alice", headers=BOB)
    assert (answer.status, answer.error["field"]) == (403, "owner")


async def test_only_the_trusted_submit_for_another(http: Http) -> None:
    body = {"command": ["true"], "owner": "alice"}
    answer = await http("PUT", f"/jobs/{OTHER}", json=body, headers=BOB)
    assert (answer.status, answer.error["field"]) == (403, "owner")


async def test_a_caller_may_name_itself(http: Http) -> None:
    body = {"command": ["true"], "owner": "bob"}
    assert (await http("PUT", f"/jobs/{OTHER}", json=body, headers=BOB)).status == 201


async def test_nodes_show_only_the_callers_jobs(core: ServedCore, http: Http) -> None:
    await core.submit(OTHER, "bob")
    core.sites.node = core.sites.node.model_copy(update={"jobs": [JOB, OTHER]})
    answer = await http("GET", "/nodes", headers=BOB)
    assert answer.json["nodes"][0]["jobs"] == [OTHER]


async def test_only_admins_drain(http: Http) -> None:
    answer = await http("PATCH", "/nodes/lab/n1", json={"drained": True}, headers=BOB)
    assert (answer.status, answer.error["code"]) == (403, "forbidden")


async def test_without_a_door_nobody_comes_in(core: ServedCore, http: Http) -> None:
    del core.application.settings["identify"]
    for method, path in [("GET", "/health"), ("PUT", f"/jobs/{JOB}"), ("GET", "/nothing")]:
        assert (await http(method, path)).status == 403
