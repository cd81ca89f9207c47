"""The pages: everything is on them, nothing of others' can get into them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from tornado.httputil import HTTPServerRequest

from skyport_core.api import make_application, unix_door
from skyport_core.api.errors import ApiError
from skyport_core.api.openapi import openapi
from skyport_core.api.pages.reference import read_document
from skyport_core.api.pages.schemas import schema_of
from skyport_core.caller import Caller

from .served import Answer, Http, ServedCore, memory_services

PREFIX = "/hub.base/services/skyport"


async def page(http: Http, path: str) -> Answer:
    async with http.session.get(f"http://core{path}", allow_redirects=False) as answer:
        return Answer(answer.status, answer.headers, await answer.read())


@pytest.fixture
async def below_a_prefix(tmp_path: Path) -> AsyncIterator[Http]:
    """A door like that behind a hub, for <b>ob, who is not logged in at /api/docs."""

    async def identify(request: HTTPServerRequest) -> Caller:
        if request.path.endswith("/docs"):
            raise ApiError(401, "unauthorized", "Who are you?")
        if request.path.endswith("/openapi.json"):
            raise ApiError(403, "forbidden", "Not <b>you</b>.")
        return Caller("<b>ob")

    async with memory_services(tmp_path) as services:
        application = make_application(services, prefix=PREFIX)
        door = await unix_door(application, tmp_path / "core.sock")
        application.settings.update(identify=identify, login_page=f"{PREFIX}/login")
        try:
            async with Http(door.path) as http:
                yield http
        finally:
            await door.close()


async def test_the_reference_has_every_operation_and_every_schema(
    core: ServedCore, http: Http
) -> None:
    answer = await page(http, "/api/docs")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    soup = BeautifulSoup(answer.body, "html.parser")
    anchors = {element["id"] for element in soup.find_all(id=True)}
    document = openapi().document()
    for path, methods in document["paths"].items():
        assert path in soup.text
        for method, operation in methods.items():
            assert method == "head" or operation["operationId"] in anchors
    assert {f"schema-{name}" for name in document["components"]["schemas"]} <= anchors
    assert [a["href"] for a in soup.select("a[href^='#']") if a["href"][1:] not in anchors] == []


async def test_pages_take_nothing_from_elsewhere(core: ServedCore, http: Http) -> None:
    for path in ("/", "/api/docs"):
        answer = await page(http, path)
        policy = answer.headers["Content-Security-Policy"]
        for rule in ("default-src 'none'", "frame-ancestors 'none'", "sandbox allow-scripts"):
            assert rule in policy
        soup = BeautifulSoup(answer.body, "html.parser")
        for element in soup.find_all(["script", "style"]):
            assert f"'nonce-{element['nonce']}'" in policy
        assert not soup.find_all(["img", "link", "iframe"]) + soup.select("script[src]")
        assert b"://" not in answer.body


async def test_below_a_prefix_links_stay_below_it(below_a_prefix: Http) -> None:
    for path in (PREFIX, f"{PREFIX}/"):
        answer = await page(below_a_prefix, path)
        soup = BeautifulSoup(answer.body, "html.parser")
        links = [link["href"] for link in soup.find_all("a")]
        assert links
        assert [link for link in links if not link.startswith(f"{PREFIX}/")] == []
        assert soup.strong is not None
        assert soup.strong.text == "<b>ob"


async def test_below_a_prefix_a_new_job_is_found_where_its_location_says(
    below_a_prefix: Http,
) -> None:
    url = f"http://core{PREFIX}/api/v1/jobs"
    async with below_a_prefix.session.post(url, json={"command": ["true"]}) as answer:
        assert answer.status == 201
    assert (await page(below_a_prefix, answer.headers["Location"])).status == 200


async def test_who_is_not_known_is_sent_to_log_in(below_a_prefix: Http) -> None:
    answer = await page(below_a_prefix, f"{PREFIX}/api/docs")
    login = f"{PREFIX}/login?next=%2Fapi%2Fdocs"
    assert (answer.status, answer.headers["Location"]) == (302, login)


async def test_an_error_is_a_page_too(core: ServedCore, http: Http) -> None:
    async def nobody(request: HTTPServerRequest) -> Caller:
        raise ApiError(403, "forbidden", "Not <i>you</i>.")

    core.application.settings["identify"] = nobody
    answer = await page(http, "/")
    assert (answer.status, answer.headers["Content-Type"]) == (403, "text/html; charset=utf-8")
    assert b"Not &lt;i&gt;you&lt;/i&gt;." in answer.body


async def test_the_prefix_is_no_way_around(below_a_prefix: Http) -> None:
    assert (await page(below_a_prefix, "/api/v1/jobs")).status == 404
    assert (await page(below_a_prefix, "/hubXbase/services/skyport/")).status == 404


def test_types_are_put_into_words() -> None:
    schema = {
        "description": "A `thing`.",
        "required": ["a"],
        "properties": {
            "a": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "b": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "c": {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
            "d": {"enum": ["x", "y"]},
            "e": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    }
    fields = {field.name: field for field in schema_of("Thing", schema).fields}
    said = {name: "".join(word.text for word in one.kind) for name, one in fields.items()}
    assert said == {
        "a": "list of Part",
        "b": "string or null",
        "c": "integer from 1 below 5",
        "d": '"x" | "y"',
        "e": "object of number",
    }
    assert (fields["a"].required, fields["b"].default) == (True, "null")


def test_a_document_without_anything_is_read() -> None:
    empty = {"info": {"title": "x", "version": "1"}, "paths": {}, "components": {"schemas": {}}}
    assert read_document(empty).groups == {}
