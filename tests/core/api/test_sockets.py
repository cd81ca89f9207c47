"""WebSockets: who may open them, what their frames mean, and when they end."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError

from skyport_core.api.v1 import websocket
from skyport_core.caller import Caller
from skyport_core.model import Job, JobState
from skyport_core.wire import API_PREFIX
from tests.core.api.served import JOB, UNKNOWN, Http, MemoryPipe, MemoryReach, ServedCore
from tests.infra.wait import eventually

Open = Callable[..., AbstractAsyncContextManager[ClientWebSocketResponse]]


@pytest.fixture
async def running(core: ServedCore) -> Job:
    job = await core.submit()
    place = {"site": "lab", "node": "n1", "username": "alice"}
    return await core.store.update_job(job, state=JobState.RUNNING, **place)


@pytest.fixture
def reach(core: ServedCore) -> MemoryReach:
    assert isinstance(core.services.reach, MemoryReach)
    return core.services.reach


@pytest.fixture
def opened(http: Http) -> Open:
    """Opens a WebSocket of a job."""

    @asynccontextmanager
    async def opened(
        path: str, job_id: str = JOB, **options: Any
    ) -> AsyncIterator[ClientWebSocketResponse]:
        url = f"http://core{API_PREFIX}/jobs/{job_id}/{path}"
        async with http.session.ws_connect(url, **options) as socket:
            yield socket

    return opened


async def refused(opened: Open, path: str, **options: Any) -> tuple[int, str]:
    """Status and reason of a handshake that fails."""
    with pytest.raises(WSServerHandshakeError) as failed:
        async with opened(path, **options):
            pass
    return failed.value.status, failed.value.message


async def frame(socket: ClientWebSocketResponse) -> aiohttp.WSMessage:
    return await asyncio.wait_for(socket.receive(), 10)


async def test_keys_and_screen_are_binary_frames_and_the_size_is_control(
    core: ServedCore, running: Job, opened: Open, reach: MemoryReach
) -> None:
    async with opened("shell?cols=100&rows=30&term=vt100") as socket:
        query = reach.queries[0]
        assert (query.terminal, query.cols, query.rows, query.term) == (True, 100, 30, "vt100")
        await socket.send_bytes(b"ls\r\x00\xff")
        assert (await frame(socket)).data == b"ls\r\x00\xff"
        await socket.send_str('{"resize": [120, 40]}')
        await socket.send_str('{"eof": true}')
        assert json.loads((await frame(socket)).data) == {"exit": 0, "signal": None}
        assert (await frame(socket)).type is WSMsgType.CLOSE
        assert reach.pipes[0].size == (120, 40)
    await core.idle()
    assert reach.pipes[0].closed


async def test_frames_of_a_command_tell_its_streams_apart(
    running: Job, opened: Open, reach: MemoryReach
) -> None:
    async with opened("shell?command=cat&command=%20-u&command=") as socket:
        assert reach.queries[0].command == ("cat", " -u", "")
        await socket.send_bytes(b"in")
        assert (await frame(socket)).data == b"\x01in"


async def test_a_port_is_closed_when_both_sides_have_ended(
    core: ServedCore, running: Job, opened: Open
) -> None:
    async with opened("ports/8888") as socket:
        await socket.send_bytes(b"GET")
        assert (await frame(socket)).data == b"GET"
        await socket.send_str('{"eof": true}')
        assert json.loads((await frame(socket)).data) == {"eof": True}
        closed = await frame(socket)
        assert (closed.type, closed.data) == (WSMsgType.CLOSE, 1000)
    await core.idle()


async def test_refusals_are_http_answers(
    core: ServedCore, http: Http, running: Job, opened: Open
) -> None:
    assert (await refused(opened, "shell", job_id=UNKNOWN))[0] == 404
    assert (await refused(opened, "shell?rows=0"))[0] == 422
    assert (await refused(opened, "shell?colour=1"))[0] == 422
    assert (await refused(opened, "ports/0"))[0] == 422
    assert (await refused(opened, "ports/1"))[0] == 502
    plain = await http("GET", f"/jobs/{JOB}/shell")
    assert (plain.status, plain.error["code"]) == (426, "upgrade_required")
    await core.end()
    assert (await refused(opened, "shell"))[0] == 409


async def test_pages_of_other_sites_may_not_open_any(running: Job, opened: Open) -> None:
    for origin in ("https://evil.example", "null", "http://core.evil.example", "http://core:81"):
        assert (await refused(opened, "shell", headers={"Origin": origin}))[0] == 403
    async with opened("shell", headers={"Origin": "http://core"}):
        pass


@pytest.mark.parametrize(
    ("caller", "status"), [(Caller("bob"), 404), (Caller("alice", may_write=False), 403)]
)
async def test_only_who_may_write_reaches_its_own_job(
    core: ServedCore, running: Job, opened: Open, caller: Caller, status: int
) -> None:
    async def identify(_: object) -> Caller:
        return caller

    core.application.settings["identify"] = identify
    for path in ("shell", "ports/80"):
        assert (await refused(opened, path))[0] == status


class Pass:
    """A credential that is taken back."""

    key = "pass"
    good = True

    async def valid(self) -> bool:
        return self.good


async def test_it_is_closed_when_the_credential_is_taken_back(
    core: ServedCore, running: Job, opened: Open, reach: MemoryReach
) -> None:
    credential = Pass()

    async def identify(_: object) -> Caller:
        return Caller("alice", credential=credential)

    core.application.settings["identify"] = identify
    async with opened("shell") as link:
        credential.good = False
        assert (await frame(link)).type is WSMsgType.CLOSED
    await core.idle()
    assert reach.pipes[0].closed


async def test_it_is_closed_when_the_job_ends(
    core: ServedCore, running: Job, opened: Open, reach: MemoryReach
) -> None:
    async with opened("ports/80") as socket:
        await core.end()
        closed = await frame(socket)
        assert (closed.data, closed.extra) == (1001, "The job has ended")
    await core.idle()
    assert reach.pipes[0].closed


async def test_words_that_are_not_understood_are_told(running: Job, opened: Open) -> None:
    async with opened("shell") as socket:
        await socket.send_str('{"resise": [1, 2]}')
        closed = await frame(socket)
        assert closed.data == 1003
        assert "resize" in closed.extra


async def test_a_node_that_does_not_read_stops_the_client(
    core: ServedCore,
    running: Job,
    opened: Open,
    reach: MemoryReach,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(websocket, "PING", 0.2)
    async with opened("ports/80") as link:
        await eventually(lambda: bool(reach.pipes), "the connection", 5)
        reach.pipes[0].may_read.clear()
        sending = asyncio.create_task(_pour(link))
        done, _ = await asyncio.wait({sending}, timeout=0.5)
        assert not done
        assert reach.pipes[0].heard.empty()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        # The client's end is noticed all the same.
        link.get_extra_info("socket").shutdown(socket.SHUT_RDWR)
        await core.idle()
    assert reach.pipes[0].closed


@pytest.mark.parametrize("broken", ["write", "write_eof"])
async def test_a_failure_of_the_other_end_is_told(
    running: Job, opened: Open, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("something unforeseen")

    monkeypatch.setattr(MemoryPipe, broken, fails)
    async with opened("ports/80") as link:
        await link.send_bytes(b"x")
        await link.send_str('{"eof": true}')
        seen = await frame(link)
        while seen.type is WSMsgType.BINARY:
            seen = await frame(link)
        assert (seen.type, seen.data) == (WSMsgType.CLOSE, 1011)


async def test_a_client_that_vanished_is_noticed(
    core: ServedCore, running: Job, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "PING", 0.05)
    monkeypatch.setattr(websocket, "SILENCE", 0.2)
    async with opened("shell", autoping=False, autoclose=False) as socket:
        seen = [await frame(socket)]
        while seen[-1].type is WSMsgType.PING:
            seen.append(await frame(socket))
        assert (seen[-1].data, seen[-1].extra) == (1001, "No sign of life")


async def test_tunnels_are_those_of_the_caller(core: ServedCore, http: Http) -> None:
    every = (await http("GET", "/tunnels")).json["tunnels"]
    assert [(tunnel["owner"], tunnel["connections"]) for tunnel in every] == [
        ("alice", 2),
        ("bob", 2),
    ]

    async def bob(_: object) -> Caller:
        return Caller("bob")

    core.application.settings["identify"] = bob
    assert {view["owner"] for view in (await http("GET", "/tunnels")).json["tunnels"]} == {"bob"}
    assert (await http("GET", "/tunnels?owner=alice")).status == 403


async def _pour(socket: ClientWebSocketResponse) -> None:
    while True:
        await socket.send_bytes(bytes(2**18))
