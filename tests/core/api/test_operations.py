"""Scripts, versions, changes, records, usage and offers of ``/jobs``, as any client sees them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from skyport_core.model import JobState, Resources

from .served import JOB, OTHER, UNKNOWN, Answer, Http, ServedCore, now

SCRIPT = "#!/bin/sh\n#SWM name nightly\necho done\n"
SHELL = {"Content-Type": "text/x-shellscript"}


async def post(http: Http, **wish: Any) -> Answer:
    return await http("POST", "/jobs", json={"owner": "alice", "command": ["true"], **wish})


async def test_post_makes_a_job_and_tells_where_it_is(http: Http) -> None:
    answer = await post(http)
    assert answer.status == 201
    assert answer.headers["Location"] == f"/api/v1/jobs/{answer.json['id']}"
    assert answer.headers["ETag"] == '"0"'


async def test_the_same_key_is_the_same_job(http: Http) -> None:
    body, key = {"command": ["true"]}, {"Idempotency-Key": JOB}
    first = await http("POST", "/jobs", json=body, headers=key)
    again = await http("POST", "/jobs", json=body, headers=key)
    assert (first.status, again.status) == (201, 200)
    assert first.json["id"] == again.json["id"] == JOB


async def test_a_key_must_be_a_uuid(http: Http) -> None:
    answer = await http("POST", "/jobs", json={}, headers={"Idempotency-Key": "x"})
    assert (answer.status, answer.error["field"]) == (422, "Idempotency-Key")


async def test_a_script_is_submitted_as_it_is(http: Http) -> None:
    answer = await http("POST", "/jobs", data=SCRIPT, headers=SHELL)
    assert (answer.status, answer.json["name"]) == (201, "nightly")
    assert (answer.json["kind"], answer.json["scripted"]) == ("batch", True)
    text = await http("GET", f"/jobs/{answer.json['id']}/script")
    assert text.body.decode() == SCRIPT
    assert text.headers["Content-Type"].startswith("text/x-shellscript")


async def test_what_a_request_says_goes_before_its_script(http: Http) -> None:
    answer = await http("POST", "/jobs", json={"script": SCRIPT, "name": "mine"})
    assert answer.json["name"] == "mine"


async def test_the_same_script_again_is_the_same_job(http: Http) -> None:
    body = {"script": SCRIPT}
    statuses = [(await http("PUT", f"/jobs/{JOB}", json=body)).status for _ in range(2)]
    assert statuses == [201, 200]
    answer = await http("PUT", f"/jobs/{JOB}", json={"script": SCRIPT + "echo more\n"})
    assert answer.status == 409


async def test_a_bad_directive_names_its_line(http: Http) -> None:
    answer = await http("POST", "/jobs", data="#!/bin/sh\n#SWM gpus many\n", headers=SHELL)
    assert (answer.status, answer.error["code"]) == (422, "invalid_script")
    assert answer.error["field"] == "script"
    assert "line 2" in answer.error["message"] and "gpus" in answer.error["message"]


async def test_a_command_has_no_script(core: ServedCore, http: Http) -> None:
    await core.submit()
    answer = await http("GET", f"/jobs/{JOB}/script")
    assert (answer.status, answer.error["code"]) == (404, "no_script")


async def test_a_job_that_is_known_already_is_not_sent_again(core: ServedCore, http: Http) -> None:
    await core.submit()
    tag = (await http("GET", f"/jobs/{JOB}")).headers["ETag"]
    answer = await http("GET", f"/jobs/{JOB}", headers={"If-None-Match": tag})
    assert (answer.status, answer.body) == (304, b"")


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", ""), ("DELETE", ""), ("POST", "/requeue"), ("DELETE", "/record")]
)
async def test_what_changed_since_is_not_changed(
    core: ServedCore, http: Http, method: str, path: str
) -> None:
    job = await core.submit()
    await core.store.update_job(job, wait_reason="news")
    old = {"If-Match": f'"{job.version}"'}
    body = {"json": {"name": "new"}} if method == "PATCH" else {}
    answer = await http(method, f"/jobs/{JOB}{path}", headers=old, **body)
    assert (answer.status, answer.error["code"]) == (412, "changed")


async def test_name_and_comment_can_be_changed(core: ServedCore, http: Http) -> None:
    await core.submit()
    answer = await http("PATCH", f"/jobs/{JOB}", json={"name": "new", "comment": "why"})
    assert (answer.status, answer.json["name"], answer.json["comment"]) == (200, "new", "why")
    assert answer.headers["ETag"] == '"1"'
    listed = await http("GET", "/jobs?name=new")
    assert [job["id"] for job in listed.json["jobs"]] == [JOB]


async def test_a_change_to_what_is_so_already_changes_nothing(core: ServedCore, http: Http) -> None:
    await core.submit()
    answer = await http("PATCH", f"/jobs/{JOB}", json={"held": False})
    assert (answer.status, answer.json["version"]) == (200, 0)


async def test_an_ended_job_gets_no_more_time(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.end()
    answer = await http("PATCH", f"/jobs/{JOB}", json={"walltime": 60})
    assert (answer.status, answer.error["code"]) == (409, "wrong_state")
    assert "FINISHED" in answer.error["message"]


async def test_a_page_tells_where_the_next_begins(core: ServedCore, http: Http) -> None:
    await core.submit(JOB)
    await core.submit(OTHER)
    first = (await http("GET", "/jobs?limit=1")).json
    assert ([job["id"] for job in first["jobs"]], first["next"]) == ([OTHER], OTHER)
    last = (await http("GET", f"/jobs?limit=1&after={OTHER}")).json
    assert ([job["id"] for job in last["jobs"]], last["next"]) == ([JOB], None)


async def test_an_id_whose_record_is_gone_is_used_up(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.end()
    assert (await http("DELETE", f"/jobs/{JOB}/record")).status == 204
    assert (await http("GET", f"/jobs/{JOB}")).status == 404
    answer = await http("PUT", f"/jobs/{JOB}", json={"owner": "alice", "command": ["true"]})
    assert (answer.status, answer.error["code"]) == (410, "deleted")


async def test_a_live_job_keeps_its_record(core: ServedCore, http: Http) -> None:
    await core.submit()
    answer = await http("DELETE", f"/jobs/{JOB}/record")
    assert (answer.status, answer.error["code"]) == (409, "wrong_state")


@pytest.mark.parametrize("path", ["/requeue", "/record", "/script"])
async def test_actions_on_an_unknown_job_are_404(http: Http, path: str) -> None:
    method = {"/requeue": "POST", "/record": "DELETE", "/script": "GET"}[path]
    answer = await http(method, f"/jobs/{UNKNOWN}{path}")
    assert (answer.status, answer.error["code"]) == (404, "job_not_found")


async def test_all_jobs_of_an_array_are_cancelled_with_one_call(http: Http) -> None:
    first = (await post(http, array="0-2")).json["id"]
    await http("DELETE", f"/jobs/{first}?array=true")
    jobs = (await http("GET", f"/jobs?array={first}")).json["jobs"]
    assert [job["target"] for job in jobs] == ["CANCELLED"] * 3


@pytest.mark.parametrize("array", ["5-1", "0-9:0", "0-99999", "1%0", "a"])
async def test_an_array_that_means_nothing_is_refused(http: Http, array: str) -> None:
    answer = await post(http, array=array)
    assert (answer.status, answer.error["field"]) == (422, "array")


async def test_usage_is_told_apart_as_asked(core: ServedCore, http: Http) -> None:
    for job_id, site in ((JOB, "lab"), (OTHER, "cloud")):
        job = await core.submit(job_id)
        start = now() - dt.timedelta(hours=2)
        place: dict[str, Any] = {"site": site, "reserved": Resources(2, 1024), "share": 0.5}
        paid = {"price": 1.0, "currency": "USD"} if site == "cloud" else {}
        await core.store.update_job(job, now=start, state=JobState.ALLOCATING, **place, **paid)
    rows = (await http("GET", "/usage?by=site")).json["usage"]
    assert [(row["site"], row["jobs"]) for row in rows] == [("cloud", 1), ("lab", 1)]
    cloud, lab = rows
    assert cloud["cost"] == pytest.approx(1.0, rel=0.01)
    assert cloud["cpu_hours"] == pytest.approx(4.0, rel=0.01)
    assert (lab["cost"], lab["owner"]) == (None, None)


async def test_usage_must_not_end_before_it_begins(http: Http) -> None:
    answer = await http("GET", "/usage?since=2030-01-02&until=2030-01-01")
    assert (answer.status, answer.error["field"]) == (422, "until")


async def test_a_dry_run_stores_nothing(http: Http) -> None:
    answer = await http("POST", "/offers", json={"cpus": 2})
    assert (answer.status, answer.json["verdict"]) == (200, "starts")
    assert (await http("GET", "/jobs")).json["jobs"] == []


async def test_a_script_can_be_tried_out_too(http: Http) -> None:
    answer = await http("POST", "/offers", json={"script": "#!/bin/sh\n#SWM gpus many\n"})
    assert (answer.status, answer.error["code"]) == (422, "invalid_script")


async def test_a_forward_elsewhere_is_refused_to_those_who_name_no_owner(http: Http) -> None:
    answer = await post(http, forwards={"hub": "127.0.0.1:8081"})
    assert answer.status == 201, "the socket's callers are trusted"
    assert uuid.UUID(answer.json["id"])
