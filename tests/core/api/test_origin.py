"""What pages of other sites have a browser send counts for nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from skyport_core.pki.server import ServerOptions
from tests.infra.certs import ClientFiles

from .secured import HOSTS, Served, served
from .served import Http, ServedCore

JOB = json.dumps({"command": ["true"], "hold": True}).encode()
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "told",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://core:81"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
async def test_pages_of_other_sites_change_nothing(http: Http, told: dict[str, str]) -> None:
    answer = await http("POST", "/jobs", data=JOB, headers={**JSON, **told})
    assert (answer.status, answer.error["code"]) == (403, "foreign_origin")
    assert (await http("GET", "/jobs")).json["jobs"] == []


@pytest.mark.parametrize("told", [{"Origin": "http://core"}, {"Sec-Fetch-Site": "same-origin"}, {}])
async def test_ours_and_programs_do(http: Http, told: dict[str, str]) -> None:
    assert (await http("POST", "/jobs", data=JOB, headers={**JSON, **told})).status == 201


@pytest.mark.parametrize("line", ["GET /nothing", "DELETE /jobs/x", "POST /jobs/x/requeue"])
async def test_a_refusal_leaves_the_connection_open(core: ServedCore, line: str) -> None:
    reader, writer = await asyncio.open_unix_connection(str(core.door.path))
    method, path = line.split()
    for request, status in ((f"{method} /api/v1{path}", b"40"), ("GET /api/v1/version", b"200")):
        origin = "Origin: https://evil.example\r\n" if method != "GET" and status != b"200" else ""
        writer.write(f"{request} HTTP/1.1\r\nHost: core\r\n{origin}\r\n".encode())
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
        assert head.split()[1].startswith(status)
        length = int(head.lower().partition(b"content-length: ")[2].split()[0])
        await reader.readexactly(length)
    writer.close()


async def test_a_body_says_that_it_is_json(http: Http) -> None:
    async with http.session.post(
        "http://core/api/v1/jobs", data=JOB, skip_auto_headers=["Content-Type"]
    ) as answer:
        assert answer.status == 415


async def test_a_browsers_certificate_does_not_submit_a_form_of_another_site(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, ServerOptions(HOSTS), original=True) as https:
        alice = await https.client("alice")
        assert await submit_form(https, alice, {}) == 200
        assert await submit_form(https, alice, {"Origin": "https://evil.example"}) == 403


async def submit_form(https: Served, files: ClientFiles, told: dict[str, str]) -> int:
    form = (
        b'--B\r\nContent-Disposition: form-data; name="script_content"\r\n\r\n'
        b"#!/bin/sh\ntrue\n\r\n--B--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=B"}
    answer = await https(files, "POST", "/../../user/job", data=form, headers={**kind, **told})
    return answer.status
