"""What flows between a terminal and a job, on a real core with this machine as its site."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import WSMsgType

from skyport_core.model import JobState
from skyport_core.wire import API_PREFIX, FileList
from skyport_gates.timing import in_time
from tests.core.api.served import Http
from tests.infra.desk import Desk, opened
from tests.infra.ports import free_ports
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING, FINISHED = JobState.RUNNING, JobState.FINISHED

# Listens on the address and port that are its arguments, and answers in upper case.
LOUD = """
import socketserver, sys
class Loud(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(self.rfile.read().upper())
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer((sys.argv[1], int(sys.argv[2])), Loud).serve_forever()
"""


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
    async with Http(desk.core.socket) as http:
        yield http


def socket_of(http: Http, job_id: str, path: str) -> Any:
    """A WebSocket of a job, to be entered."""
    return http.session.ws_connect(f"http://core{API_PREFIX}/jobs/{job_id}/{path}")


async def heard(link: aiohttp.ClientWebSocketResponse, text: bytes = b"") -> bytes:
    """What comes in binary frames until ``text`` is in it, or a text frame comes."""
    said = b""
    while True:
        frame = await in_time(link.receive(), 10)
        assert frame.type in (WSMsgType.BINARY, WSMsgType.TEXT), (frame, said)
        if frame.type is WSMsgType.TEXT:
            return said + str(frame.data).encode()
        said += frame.data
        if text and text in said:
            return said


async def test_a_job_starts_when_its_inputs_are_there_and_finds_them(
    desk: Desk, http: Http
) -> None:
    job_id = await desk.submit(
        "sh", "-c", "cp -p data/in out; ./data/tool >> out", workdir="w",
        inputs=("data/in", "data/tool"), outputs=("out",),
    )  # fmt: skip
    await http("PUT", f"/jobs/{job_id}/inputs/data/in", data=b"first\n")

    async def reason() -> bool:
        return "data/tool" in (await desk.job(job_id)).wait_reason

    await eventually(reason, "the reason to wait", 10)
    headers = {"X-Skyport-Mode": "700"}
    tool = b"#!/bin/sh\necho second\n"
    await http("PUT", f"/jobs/{job_id}/inputs/data/tool", data=tool, headers=headers)
    assert (await desk.end(job_id)).state is FINISHED
    assert (await http("GET", f"/jobs/{job_id}/files/out")).body == b"first\nsecond\n"
    listed = FileList.model_validate_json((await http("GET", f"/jobs/{job_id}/files")).body)
    assert (len(listed.files), listed.missing, listed.complete) == (3, [], True)


async def test_a_log_is_followed_from_the_first_to_the_last_byte(desk: Desk, http: Http) -> None:
    script = "for i in 1 2 3; do echo $i; sleep 0.3; done; seq 100000; echo end"
    job_id = await desk.submit("sh", "-c", script)
    url = f"http://core{API_PREFIX}/jobs/{job_id}/log?follow=true"
    async with http.session.get(url) as answer:
        assert await in_time(answer.content.readline(), 20) == b"1\n"
        assert (await desk.job(job_id)).state in (JobState.STARTING, RUNNING)
        rest = await in_time(answer.content.read(), 20)
    lines = rest.split()
    assert lines[:2] == [b"2", b"3"]
    assert lines[2:-1] == [b"%d" % number for number in range(1, 100001)]
    assert lines[-1] == b"end"


async def test_a_terminal_on_the_jobs_node(desk: Desk, http: Http) -> None:
    job_id = await desk.submit("sleep", "60", workdir="here", environment={"MY_VALUE": "7"})
    await desk.reach(job_id, RUNNING)
    async with socket_of(http, job_id, "shell?cols=123&rows=45") as link:
        await link.send_bytes(b'echo "[$MY_VALUE $(basename $PWD) $(stty size)]"\r')
        await heard(link, b"[7 here 45 123]")
        await link.send_bytes(b"exit 3\r")
        assert b'{"exit": 3, "signal": null}' in await heard(link)


async def test_a_command_on_the_jobs_node(desk: Desk, http: Http) -> None:
    job_id = await desk.submit("sleep", "60")
    await desk.reach(job_id, RUNNING)
    path = "shell?command=sh&command=-c&command=tr%20a-z%20A-Z%3B%20exit%204"
    async with socket_of(http, job_id, path) as link:
        await link.send_bytes(b"quiet")
        await link.send_str('{"eof": true}')
        assert await heard(link) == b'\x01QUIET{"exit": 4, "signal": null}'


async def test_a_terminal_ends_with_its_job(desk: Desk, http: Http) -> None:
    job_id = await desk.submit("sleep", "60")
    await desk.reach(job_id, RUNNING)
    async with socket_of(http, job_id, "shell") as link:
        await link.send_bytes(b"echo up\r")
        await heard(link, b"up\r\n")
        await desk.client.delete_job(job_id)
        frame = await in_time(link.receive(), 10)
        while frame.type in (WSMsgType.BINARY, WSMsgType.TEXT):
            frame = await in_time(link.receive(), 10)
        assert frame.type is WSMsgType.CLOSE


async def test_ports_of_a_job_are_reached_by_socket_and_by_tunnel(desk: Desk, http: Http) -> None:
    (port,) = free_ports(1)
    loud = ("python3", "-c", LOUD, "127.0.0.1", str(port))
    job_id = await desk.submit(*loud, ports=(port,))
    await desk.reach(job_id, RUNNING)
    tunnels = (await http("GET", "/tunnels")).json["tunnels"]
    (tunnel,) = [tunnel for tunnel in tunnels if tunnel["job"] == job_id]
    assert (tunnel["direction"], tunnel["name"], tunnel["up"]) == ("in", str(port), True)
    assert tunnel["listen"]["port"] == port

    async def shouted() -> bool:
        with contextlib.suppress(ConnectionError):
            reader, writer = await asyncio.open_connection(tunnel["listen"]["host"], port)
            with contextlib.closing(writer):
                writer.write(b"by tunnel")
                writer.write_eof()
                return await in_time(reader.read(), 10) == b"BY TUNNEL"
        return False

    await eventually(shouted, "an answer through the tunnel", 10)
    async with socket_of(http, job_id, f"ports/{port}") as link:
        await link.send_bytes(b"by socket")
        await link.send_str('{"eof": true}')
        assert await heard(link) == b'BY SOCKET{"eof": true}'
        assert (await in_time(link.receive(), 10)).data == 1000


async def test_a_forward_gets_the_port_that_it_asks_for_or_uses_what_is_there(
    desk: Desk,
) -> None:
    port, service = free_ports(2)
    ask = (
        "import socket,sys; s=socket.create_connection(('127.0.0.1',int(sys.argv[1])));"
        "s.shutdown(1); print(s.recv(99).decode())"
    )
    command = ("python3", "-c", ask, str(port))
    wish: dict[str, Any] = {
        "forwards": {"licence": f"127.0.0.1:{service}"},
        "forward_ports": {"licence": port},
    }

    async def say(text: bytes, at: int) -> asyncio.Server:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(text)
            writer.close()

        return await asyncio.start_server(answer, "127.0.0.1", at)

    async with await say(b"near the core", service):
        first = await desk.submit(*command, **wish)
        assert (await desk.end(first)).state is FINISHED
        assert await desk.log(first) == "near the core\n"
        async with await say(b"on the node", port):
            second = await desk.submit(*command, **wish)
            assert (await desk.end(second)).state is FINISHED
    assert await desk.log(second) == "on the node\n"
    told = [event for event in await desk.events(second) if event.reason == "port_borrowed"]
    assert len(told) == 1
    assert str(port) in told[0].message
