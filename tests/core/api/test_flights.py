"""A request counts, and is watched, until its answer has gone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tornado.httputil import HTTPServerRequest

from skyport_core.api import handler, pace
from skyport_core.api.errors import ApiError
from skyport_core.api.limits import Limits, Rates
from skyport_core.caller import Caller
from skyport_core.wire import JobRequest
from skyport_gates.timing import in_time
from tests.infra.wait import eventually

from .served import JOB, Http, ServedCore, now

ALICE, HUB = Caller("alice"), Caller("service/hub", trusted=True)
MIB = 2**20


class Token:
    key = "token"
    good = True

    async def valid(self) -> bool:
        return self.good


@pytest.fixture
def token() -> Token:
    return Token()


@pytest.fixture
def limits() -> Limits:
    return Limits(Rates(rate=0, requests=3, in_flight=20 * MIB))


@pytest.fixture
async def limited(core: ServedCore, limits: Limits, token: Token) -> ServedCore:
    async def identify(request: HTTPServerRequest) -> Caller:
        return replace(ALICE, credential=token)

    core.application.settings.update(identify=identify, limits=limits)
    return core


async def with_script(core: ServedCore, size: int) -> None:
    request = JobRequest(script="#!/bin/sh\n".ljust(size, "#"))
    await core.store.put_job(JOB, "alice", request, now())


@contextlib.asynccontextmanager
async def unread(path: Path, *requests: str) -> AsyncIterator[list[asyncio.StreamReader]]:
    """Connections whose answers are hardly read."""
    readers, writers = [], []
    for request in requests:
        raw = socket.socket(socket.AF_UNIX)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(str(path))
        reader, writer = await asyncio.open_unix_connection(sock=raw, limit=4096)
        writer.write(f"{request} HTTP/1.1\r\nHost: core\r\n\r\n".encode())
        readers.append(reader)
        writers.append(writer)
    try:
        for reader in readers:
            await reader.read(20)
        yield readers
    finally:
        for writer in writers:
            writer.transport.abort()


async def test_so_many_requests_are_under_way_at_once(limits: Limits) -> None:
    loop = asyncio.get_running_loop()
    gone = [loop.create_future() for _ in range(4)]
    for future in gone[:3]:
        limits.begin(ALICE, future)
    with pytest.raises(ApiError) as refused:
        limits.begin(ALICE, gone[3])
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    assert limits.begin(HUB, gone[3]) is None
    gone[0].set_result(None)
    await asyncio.sleep(0)
    limits.begin(ALICE, gone[3])


async def test_an_answer_that_nobody_reads_counts(limited: ServedCore, http: Http) -> None:
    await with_script(limited, 6 * MIB)
    async with unread(limited.socket, *[f"GET /api/v1/jobs/{JOB}/script"] * 3):
        answer = await http("GET", "/health")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert "under way" in answer.error["message"]

    async def free() -> bool:
        return (await http("GET", "/health")).status == 200

    await eventually(free, "room for another request")


async def test_answers_have_so_many_bytes_together(limited: ServedCore, http: Http) -> None:
    await with_script(limited, 12 * MIB)
    async with unread(limited.socket, f"GET /api/v1/jobs/{JOB}/script"):
        answer = await http("GET", f"/jobs/{JOB}/script")
        assert (answer.status, answer.error["code"]) == (429, "too_many")
        assert "20 MiB" in answer.error["message"]
        assert (await http("GET", "/health")).status == 200


async def test_bodies_have_so_many_bytes_together(limited: ServedCore, http: Http) -> None:
    half = b'{"command": ["true"], "comment": "' + b"x" * (12 * MIB)
    _, writer = await asyncio.open_unix_connection(str(limited.socket))
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: core\r\nContent-Length: {20 * MIB}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\n\r\n" + half)
    await writer.drain()
    whole = json.dumps({"command": ["true"], "name": "x" * 12 * MIB}).encode()

    async def over(status: int) -> bool:
        return (await http("POST", "/jobs", data=whole)).status == status

    await eventually(lambda: over(429), "the first body has come")
    writer.transport.abort()
    await eventually(lambda: over(422), "the first body is forgotten")


async def test_who_takes_nothing_for_too_long_is_cut_off(
    limited: ServedCore, http: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW", 0.3)
    await with_script(limited, 6 * MIB)
    async with unread(limited.socket, f"GET /api/v1/jobs/{JOB}/script") as readers:
        await limited.idle()
        with contextlib.suppress(ConnectionError):
            assert len(await in_time(readers[0].read(), 10)) < 6 * MIB


async def test_a_large_answer_ends_with_its_credential(limited: ServedCore, token: Token) -> None:
    limited.sites.flavor_count = 10_000
    async with unread(limited.socket, "GET /api/v1/flavors?limit=10000") as readers:
        await limited.idle()
        token.good = False
        limits = limited.application.settings["limits"]
        await eventually(lambda: not limits.under_way(ALICE.name), "the end of the request")
        with contextlib.suppress(ConnectionError):
            assert len(await in_time(readers[0].read(), 10)) < 3 * MIB


async def test_a_refusal_does_not_wait_for_a_body_for_long(
    core: ServedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(request: HTTPServerRequest) -> Caller:
        raise ApiError(401, "unauthorized", "Who are you?")

    monkeypatch.setattr(handler, "REFUSED_WAIT", 0.1)
    core.application.settings.update(identify=refuse)
    reader, writer = await asyncio.open_unix_connection(str(core.socket))
    writer.write(b"POST /api/v1/jobs HTTP/1.1\r\nHost: core\r\nContent-Length: 1000\r\n\r\n")
    answer = await in_time(reader.read(), 5)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"\r\nConnection: close\r\n" in answer
    writer.close()


async def test_a_body_that_nobody_asked_for_is_not_kept(core: ServedCore) -> None:
    async def refuse(request: HTTPServerRequest) -> Caller:
        raise ApiError(401, "unauthorized", "Who are you?")

    core.application.settings.update(identify=refuse)
    reader, writer = await asyncio.open_unix_connection(str(core.socket))
    path = f"/api/v1/jobs/{JOB}/shell"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: core\r\nContent-Length: {MIB}\r\n\r\n".encode())
    assert (await in_time(reader.read(), 5)).startswith(b"HTTP/1.1 401 ")
    writer.close()


@pytest.mark.parametrize(
    "begin",
    ["TRACE /api/v1/jobs", "POST /api/v1/jobs?what=1", "PUT /api/v1/nothing"],
    ids=["unknown method", "unknown argument", "unknown path"],
)
async def test_a_connection_that_is_closed_after_an_answer_is_said_to_be(
    core: ServedCore, begin: str
) -> None:
    reader, writer = await asyncio.open_unix_connection(str(core.socket))
    writer.write(f"{begin} HTTP/1.1\r\nHost: core\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
    answer = await in_time(reader.read(), 5)
    assert answer.startswith((b"HTTP/1.1 404 ", b"HTTP/1.1 405 ", b"HTTP/1.1 422 "))
    assert b"\r\nConnection: close\r\n" in answer
    writer.close()
