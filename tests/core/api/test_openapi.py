"""The OpenAPI document: complete, valid, and told by whom it is asked."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from skyport_core import __version__
from skyport_core.api.openapi import METHODS, OpenApi, openapi
from skyport_core.api.operation import operation_of
from skyport_core.api.tracing import RequestFilter
from skyport_core.api.v1 import ROUTES
from tests.infra.wait import eventually

from .served import JOB, UNKNOWN, Http, ServedCore

DOCUMENT = openapi().document()


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, described)
        for path, methods in DOCUMENT["paths"].items()
        for method, described in methods.items()
    ]


def test_every_method_of_every_route_is_described() -> None:
    bare = [
        f"{method.upper()} {pattern}"
        for pattern, handler in ROUTES
        for method in METHODS
        if method in vars(handler) and operation_of(getattr(handler, method)) is None
    ]
    assert bare == []


def test_it_is_the_same_each_time() -> None:
    assert OpenApi(ROUTES).text("/api/v1", ()) == openapi().text("/api/v1", ())


def test_operations_have_ids_of_their_own() -> None:
    names = [described["operationId"] for _, _, described in operations()]
    assert len(set(names)) == len(names)


def test_every_name_in_a_path_is_a_parameter() -> None:
    for path, _, described in operations():
        named = {one["name"] for one in described["parameters"] if one["in"] == "path"}
        assert named == set(re.findall(r"{(\w+)}", path))


def test_every_schema_is_one() -> None:
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for _, _, described in operations():
        for parameter in described["parameters"]:
            Draft202012Validator.check_schema(parameter["schema"])


def test_every_reference_leads_somewhere_and_nothing_is_left_over() -> None:
    named = set(re.findall(r'"#/components/(\w+/\w+)"', json.dumps(DOCUMENT)))
    components = DOCUMENT["components"]
    assert named == {f"{kind}/{x}" for kind in ("schemas", "responses") for x in components[kind]}


def test_every_refusal_is_an_error_view() -> None:
    for answer in DOCUMENT["components"]["responses"].values():
        schema = answer["content"]["application/json"]["schema"]
        assert schema == {"$ref": "#/components/schemas/ErrorView"}
    for path, method, described in operations():
        refused = [one for status, one in described["responses"].items() if int(status) >= 400]
        assert all("$ref" in one for one in refused), f"{method} {path}"


async def test_a_door_tells_it_with_its_own_address(http: Http) -> None:
    answer = await http("GET", "/openapi.json")
    assert answer.status == 200
    assert answer.json["servers"] == [{"url": "/api/v1"}]
    assert answer.json["security"] == []
    assert answer.json["paths"] == DOCUMENT["paths"]


async def test_who_has_it_gets_304(http: Http) -> None:
    tag = (await http("GET", "/openapi.json")).headers["ETag"]
    again = await http("GET", "/openapi.json", headers={"If-None-Match": tag})
    assert (again.status, again.body) == (304, b"")


async def test_the_version_is_told(http: Http) -> None:
    assert (await http("GET", "/version")).json == {"version": __version__, "api": ["v1"]}


# -- what all operations share ---------------------------------------------------------------------


async def test_an_unknown_argument_is_refused_and_named(http: Http) -> None:
    for path in ("/flavors?colour=red", "/sites?colour=red"):
        answer = await http("GET", path)
        assert (answer.status, answer.error["field"]) == (422, "colour")
        assert "red" not in answer.error["message"]


async def test_an_argument_is_given_once(http: Http) -> None:
    answer = await http("GET", "/flavors?limit=1&limit=2")
    assert (answer.status, answer.error["field"]) == (422, "limit")


@pytest.mark.parametrize("path", ["/flavors?name=%ff", "/partitions/%ff"])
async def test_what_is_not_utf8_is_400(http: Http, path: str) -> None:
    method = "DELETE" if path.startswith("/partitions") else "GET"
    answer = await http(method, path_of(path))
    assert (answer.status, answer.error["code"]) == (400, "bad_request")


@pytest.mark.parametrize("name", ["%00", "a%2Fb", "%0a", "x" * 5000])
async def test_a_name_that_nothing_can_bear_is_404(http: Http, name: str) -> None:
    answer = await http("DELETE", path_of(f"/partitions/{name}"))
    assert (answer.status, answer.error["code"]) == (404, "partition_not_found")
    assert len(answer.body) < 300


def path_of(path: str) -> Any:
    """A path that is sent as it is written."""
    return path


async def test_options_names_the_methods(http: Http) -> None:
    answer = await http("OPTIONS", "/flavors")
    assert (answer.status, answer.headers["Allow"]) == (204, "GET, HEAD, OPTIONS")


async def test_head_is_get_without_the_body(core: ServedCore, http: Http) -> None:
    await core.submit()
    for path in ("/flavors", f"/jobs/{JOB}/events"):
        got = await http("HEAD", path)
        assert (got.status, got.body) == (200, b"")
    assert (await http("HEAD", f"/jobs/{UNKNOWN}/events")).status == 404


@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "json", "application/json; charset=utf-16"],
)
async def test_a_body_of_another_kind_is_415(http: Http, kind: str) -> None:
    answer = await http(
        "PATCH", "/nodes/lab/n1", data=b'{"drained": true}', headers={"Content-Type": kind}
    )
    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("path", ["nodes/lab/n1?colour=red", "nothing"])
async def test_a_refusal_waits_for_the_body(core: ServedCore, path: str) -> None:
    reader, writer = await asyncio.open_unix_connection(str(core.socket))
    head = f"PATCH /api/v1/{path} HTTP/1.1\r\nHost: core\r\nContent-Length: 5\r\n\r\n"
    writer.write(head.encode())
    await writer.drain()
    await eventually(lambda: core.application.settings["running"], "it is at work", interval=0)
    for _ in range(20):  # an answer that does not wait is under way by then
        await asyncio.sleep(0)
    writer.write(b"12345GET /api/v1/version HTTP/1.1\r\nHost: core\r\nConnection: close\r\n\r\n")
    answers = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    refused, _, rest = answers.partition("HTTP/1.1 200 OK")
    assert re.match("HTTP/1.1 4(22|04) ", refused)
    assert __version__ in rest


async def test_a_number_in_quotes_is_no_number(http: Http) -> None:
    answer = await http("PATCH", "/nodes/lab/n1", json={"drained": "true"})
    assert (answer.status, answer.error["field"]) == (422, "drained")


async def test_a_whole_number_may_have_a_fraction_of_zero(http: Http) -> None:
    answer = await http("POST", "/offers", json={"walltime": 60.5})
    assert (answer.status, answer.error["field"]) == (422, "walltime")
    answer = await http("POST", "/offers", json={"walltime": 60.0, "cpus": -1})
    assert answer.error["field"] == "cpus"


async def test_what_a_request_has_logged_carries_its_id(
    core: ServedCore, http: Http, caplog: pytest.LogCaptureFixture
) -> None:
    seen = []

    async def sites() -> list[Any]:
        record = logging.LogRecord("any", logging.INFO, "", 0, "", None, None)
        RequestFilter().filter(record)
        seen.append(record.request)  # type: ignore[attr-defined]
        return []

    core.sites.sites = sites  # type: ignore[method-assign]
    await http("GET", "/sites", headers={"X-Request-Id": "abc-1"})
    assert seen == [" id=abc-1"]
