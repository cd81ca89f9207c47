"""``/jobs`` as any HTTP client sees it."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from typing import Any

import aiohttp
import pytest

from skyport_core.api.handler import MAX_BODY
from skyport_core.model import Job, JobState
from skyport_core.service import ServiceError
from skyport_core.wire import JobRequest

from .served import JOB, OTHER, REQUEST, UNKNOWN, Http, ServedCore

BODY = json.loads(REQUEST.model_dump_json(exclude_defaults=True))


async def test_put_makes_a_job(http: Http) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", json=BODY)
    assert answer.status == 201
    assert answer.json["id"] == JOB
    assert answer.json["owner"] == "alice"
    assert answer.json["state"] == "QUEUED"


async def test_the_same_put_again_is_the_same_job(http: Http) -> None:
    first = await http("PUT", f"/jobs/{JOB}", json=BODY)
    again = await http("PUT", f"/jobs/{JOB}", json=BODY)
    assert again.status == 200
    assert again.json == first.json


async def test_the_same_id_with_other_content_is_refused(http: Http) -> None:
    await http("PUT", f"/jobs/{JOB}", json=BODY)
    answer = await http("PUT", f"/jobs/{JOB}", json={**BODY, "cpus": 2})
    assert (answer.status, answer.error["code"]) == (409, "different")


async def test_the_same_id_for_another_owner_is_refused(http: Http) -> None:
    await http("PUT", f"/jobs/{JOB}", json=BODY)
    answer = await http("PUT", f"/jobs/{JOB}", json={**BODY, "owner": "bob"})
    assert answer.status == 409


async def test_a_delete_before_the_put_wins(http: Http) -> None:
    deleted = await http("DELETE", f"/jobs/{JOB}")
    assert (deleted.status, deleted.body) == (204, b"")
    answer = await http("PUT", f"/jobs/{JOB}", json=BODY)
    assert (answer.status, answer.error["code"]) == (410, "deleted")
    assert JOB in answer.error["message"]


async def test_delete_is_idempotent(http: Http) -> None:
    await http("PUT", f"/jobs/{JOB}", json=BODY)
    first = await http("DELETE", f"/jobs/{JOB}")
    again = await http("DELETE", f"/jobs/{JOB}")
    assert first.status == again.status == 202
    assert first.json["target"] == "CANCELLED"
    assert again.json == first.json


async def test_a_job_without_owner_belongs_to_the_caller(http: Http) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", json={"command": ["true"]})
    assert answer.json["owner"] == "root"


async def test_get_shows_a_job(core: ServedCore, http: Http) -> None:
    await core.submit()
    answer = await http("GET", f"/jobs/{JOB}")
    assert (answer.status, answer.json["name"]) == (200, "nap")


@pytest.mark.parametrize("job_id", [UNKNOWN, "no-uuid", JOB.upper(), "%00", "a%2Fb"])
async def test_an_unknown_job_is_404(http: Http, job_id: str) -> None:
    answer = await http("GET", f"/jobs/{job_id}")
    assert (answer.status, answer.error["code"]) == (404, "job_not_found")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_a_new_id_must_be_a_canonical_uuid(http: Http, method: str) -> None:
    answer = await http(method, f"/jobs/{JOB.upper()}", json=BODY)
    assert (answer.status, answer.error["field"]) == (422, "id")


async def test_list_filters_and_pages(core: ServedCore, http: Http) -> None:
    await core.submit(JOB, "alice")
    await core.submit(OTHER, "bob")
    await core.end(OTHER)

    async def ids(query: str) -> list[str]:
        answer = await http("GET", f"/jobs?{query}")
        return [job["id"] for job in answer.json["jobs"]]

    assert await ids("") == [OTHER, JOB]
    assert await ids("owner=bob") == [OTHER]
    assert await ids("state=QUEUED") == [JOB]
    assert await ids("state=QUEUED&state=FINISHED") == [OTHER, JOB]
    assert await ids("kind=batch") == []
    assert await ids("limit=1") == [OTHER]
    assert await ids(f"limit=1&after={OTHER}") == [JOB]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=SLEEPING", "state"),
        ("kind=lamp", "kind"),
        ("limit=0", "limit"),
        ("limit=many", "limit"),
        ("after=nothing", "after"),
    ],
)
async def test_list_names_the_wrong_argument(http: Http, query: str, field: str) -> None:
    answer = await http("GET", f"/jobs?{query}")
    assert (answer.status, answer.error["field"]) == (422, field)
    assert query.partition("=")[2] in answer.error["message"]


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"cpus": -1}, "cpus", ["-1", "greater than 0"]),
        ({"kind": "lamp"}, "kind", ["lamp", "must be 'server' or 'batch'"]),
        ({"command": []}, "command", ["either", "script"]),
        ({"files": [{"path": "../x", "content": ""}]}, "files.0.path", ["../x", "relative"]),
        ({"files": [{"path": "x", "content": "?"}]}, "files.0.content", ["base64"]),
        ({"forwards": {"hub": "nowhere"}}, "forwards.hub", ["nowhere"]),
        ({"probe": {"path": "api"}}, "probe.path", ["api", "must match"]),
        ({"colour": "red"}, "colour", ["unknown field", "command"]),
        ({"environment": {"1A": "x"}}, "environment.1A", ["must be a name of letters"]),
        ({"command": "date"}, "command", ["must be a list"]),
        ({"cpus": "x"}, "cpus", ["('x'): must be a number"]),
    ],
)
async def test_a_refusal_names_field_value_and_what_is_allowed(
    http: Http, change: dict[str, object], field: str, words: list[str]
) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", json={**BODY, **change})
    assert (answer.status, answer.error["code"], answer.error["field"]) == (422, "invalid", field)
    for word in words:
        assert word in answer.error["message"]


async def test_a_missing_field_is_named(http: Http) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", json={"owner": "alice"})
    assert (answer.status, answer.error["field"]) == (422, "command")
    assert "either a command or a script" in answer.error["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"command": }'])
async def test_what_is_not_json_is_400(http: Http, body: bytes) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", data=body)
    assert (answer.status, answer.error["code"]) == (400, "invalid_json")


async def test_json_that_is_no_object_is_422(http: Http) -> None:
    answer = await http("PUT", f"/jobs/{JOB}", json=["true"])
    assert answer.status == 422


SECRET = "hunter2-and-more"


@pytest.mark.parametrize(
    "change",
    [
        {"environment": {"TOKEN": SECRET + "\0"}},
        {"environment": SECRET},
        {"environment": [SECRET]},
        {"environment_templates": {"TOKEN": {"a": SECRET}}},
        {"enviroment": {"TOKEN": SECRET}},
        {"token": SECRET},
        {"files": [{"path": "a", "content": SECRET}]},
        {"files": [{"path": "a", "content": "", "data": SECRET}]},
        {"files": SECRET},
        {"command": ["login", "--token", SECRET + "\0"]},
        {"command": SECRET},
    ],
)
async def test_no_secret_comes_back_or_is_logged(
    http: Http, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await http("PUT", f"/jobs/{JOB}?token={SECRET}", json={**BODY, **change})
    assert answer.status == 422
    assert SECRET not in answer.body.decode()
    assert SECRET not in caplog.text


async def test_a_large_body_is_accepted(http: Http) -> None:
    content = base64.b64encode(bytes(11 * 2**20)).decode()
    files = [{"path": "big", "content": content}]
    body = json.dumps({**BODY, "files": files}).encode()
    answer = await http("PUT", f"/jobs/{JOB}", data=io.BytesIO(body))
    assert answer.status == 201


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_413(http: Http, chunked: bool) -> None:
    async def parts():
        for _ in range(MAX_BODY // 2**20 + 1):
            yield bytes(2**20)

    data = parts() if chunked else io.BytesIO(bytes(MAX_BODY + 1))
    answer = await http("PUT", f"/jobs/{JOB}", data=data)
    assert (answer.status, answer.error["code"]) == (413, "too_large")
    assert "32 MiB" in answer.error["message"]


async def test_an_unknown_path_is_404_in_json(http: Http) -> None:
    answer = await http("GET", "/nothing")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_wrong_method_is_405_and_names_the_right_ones(http: Http) -> None:
    answer = await http("POST", f"/jobs/{JOB}", json={})
    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert {"GET", "PUT", "DELETE"} <= set(answer.headers["Allow"].split(", "))


async def test_what_a_service_refuses_is_told(core: ServedCore, http: Http) -> None:
    core.jobs.failure = ServiceError("No site x.", code="site", status=422, field="site")
    answer = await http("PUT", f"/jobs/{JOB}", json=BODY)
    assert answer.status == 422
    assert answer.error == {"code": "site", "message": "No site x.", "field": "site"}


async def test_an_unexpected_error_stays_in_the_log(
    core: ServedCore, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    core.jobs.failure = RuntimeError("wires crossed")
    answer = await http("PUT", f"/jobs/{JOB}", json=BODY, headers={"X-Request-Id": "abc-1"})
    assert (answer.status, answer.error["code"]) == (500, "internal")
    assert "abc-1" in answer.error["message"]
    assert "wires" not in answer.body.decode()
    assert "wires crossed" in caplog.text
    assert "abc-1" in caplog.text


async def test_the_access_log_has_request_id_and_no_query(
    http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "skyport.access")
    answer = await http("GET", "/jobs?owner=secret-owner")
    line = caplog.records[-1].getMessage()
    assert answer.headers["X-Request-Id"] in line
    assert "GET /api/v1/jobs 200" in line
    assert "secret-owner" not in line


async def test_a_malformed_request_id_is_replaced(http: Http) -> None:
    answer = await http("GET", "/health", headers={"X-Request-Id": "a b; c"})
    assert answer.headers["X-Request-Id"].isalnum()


async def test_log_is_read_in_parts(core: ServedCore, http: Http) -> None:
    await core.submit()
    core.jobs.logs["stdout"] = "grüße\n".encode()
    answer = await http("GET", f"/jobs/{JOB}/log?offset=2&limit=3")
    assert answer.body == "grüße\n".encode()[2:5]
    assert answer.headers["X-Skyport-Next-Offset"] == "5"
    assert answer.headers["Content-Type"].startswith("text/plain")


async def test_stderr_is_a_stream_of_its_own(core: ServedCore, http: Http) -> None:
    await core.submit()
    core.jobs.logs["stderr"] = b"oops"
    assert (await http("GET", f"/jobs/{JOB}/log?stream=stderr")).body == b"oops"
    assert (await http("GET", f"/jobs/{JOB}/log")).body == b""


@pytest.mark.parametrize("query", ["stream=tape", "offset=-1", "limit=0", "limit=99999999"])
async def test_log_refuses_a_wrong_argument(core: ServedCore, http: Http, query: str) -> None:
    await core.submit()
    answer = await http("GET", f"/jobs/{JOB}/log?{query}")
    assert (answer.status, answer.error["field"]) == (422, query.partition("=")[0])


async def test_a_running_job_shows_its_address(core: ServedCore, http: Http) -> None:
    job = await core.submit()
    await core.store.update_job(job, state=JobState.RUNNING, listen=("127.96.0.1", 8888))
    answer = await http("GET", f"/jobs/{JOB}")
    assert answer.json["address"] == {"host": "127.96.0.1", "port": 8888}


async def test_closing_the_door_waits_for_what_is_being_done(
    core: ServedCore, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, release = asyncio.Event(), asyncio.Event()
    submit = core.jobs.submit

    async def slow(
        job_id: str, owner: str, request: JobRequest, **options: Any
    ) -> tuple[Job, bool]:
        entered.set()
        await release.wait()
        return await submit(job_id, owner, request, **options)

    monkeypatch.setattr(core.jobs, "submit", slow)
    putting = asyncio.create_task(http("PUT", f"/jobs/{JOB}", json=BODY))
    await asyncio.wait_for(entered.wait(), 10)
    closing = asyncio.create_task(core.door.close())
    with pytest.raises(aiohttp.ClientError):
        await putting
    assert not closing.done()
    release.set()
    await asyncio.wait_for(closing, 10)
    assert await core.store.get_job(JOB) is not None
