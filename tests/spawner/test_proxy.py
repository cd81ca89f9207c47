"""The Python proxy passes answers on as they come."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web

from tests.infra.ports import free_ports
from tests.infra.wait import eventually

TOKEN = "t0ken"


@dataclass
class Target:
    """A server behind the proxy that answers when the test says so."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[aiohttp.typedefs.LooseHeaders] = field(default_factory=list)

    async def stream(self, request: web.Request) -> web.StreamResponse:
        """One piece at once, the other when told."""
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b"first\n")
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.left.set()
            raise
        await answer.write(b"second\n")
        return answer

    async def echo(self, request: web.Request) -> web.Response:
        """What was asked, as JSON."""
        body = (await request.read()).decode()
        asked = {"method": request.method, "path": request.raw_path, "body": body}
        response = web.Response(text=json.dumps(asked), status=201, content_type="application/json")
        response.headers.add("Set-Cookie", "a=1")
        response.headers.add("Set-Cookie", "b=2")
        return response

    async def refuse(self, _: web.Request) -> web.Response:
        """Lets nobody in."""
        raise web.HTTPForbidden

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        """Sends a message of the size that it is told; ends as it is told."""
        channel = web.WebSocketResponse(max_msg_size=0)
        await channel.prepare(request)
        async for message in channel:
            if message.data == "close":
                await channel.close(code=4001)
                break
            if message.data == "vanish":
                assert request.transport is not None
                request.transport.abort()
                break
            await channel.send_str("x" * int(message.data))
        return channel


@pytest.fixture
async def target() -> AsyncIterator[tuple[Target, str]]:
    """The target, and the URL that the proxy serves for it."""
    behind = Target()
    application = web.Application()
    application.router.add_get("/user/ann/stream", behind.stream)
    application.router.add_get("/user/ann/socket", behind.socket)
    application.router.add_get("/user/ann/closed", behind.refuse)
    application.router.add_route("*", "/user/ann/{rest:.*}", behind.echo)
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]
    front, api = free_ports(2)
    proxy = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "skyport_spawner.proxy", "--ip", "127.0.0.1", "--port", str(front),
        "--api-ip", "127.0.0.1", "--api-port", str(api),
        env={**os.environ, "CONFIGPROXY_AUTH_TOKEN": TOKEN},
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as session:
            route = {"target": f"http://127.0.0.1:{port}"}
            await eventually(lambda: _add_route(session, api, route), "route added", 15)
        yield behind, f"http://127.0.0.1:{front}/user/ann"
    finally:
        behind.go_on.set()
        proxy.terminate()
        await proxy.wait()
        await runner.cleanup()


async def _add_route(session: aiohttp.ClientSession, port: int, route: dict[str, str]) -> bool:
    url = f"http://127.0.0.1:{port}/api/routes/user/ann"
    try:
        headers = {"Authorization": f"token {TOKEN}"}
        async with session.post(url, json=route, headers=headers) as answer:
            return answer.status == 201
    except aiohttp.ClientError:
        return False


async def test_first_piece_arrives_before_the_last_is_sent(target: tuple[Target, str]) -> None:
    behind, url = target
    async with aiohttp.ClientSession() as session, session.get(f"{url}/stream") as answer:
        assert await asyncio.wait_for(answer.content.readline(), 5) == b"first\n"
        behind.go_on.set()
        assert await answer.content.read() == b"second\n"


async def test_browser_that_leaves_ends_the_request_to_the_target(
    target: tuple[Target, str],
) -> None:
    behind, url = target
    async with aiohttp.ClientSession() as session:
        answer = await session.get(f"{url}/stream")
        await answer.content.readline()
        answer.close()
        await asyncio.wait_for(behind.left.wait(), 5)


async def test_method_path_body_and_repeated_headers_arrive(target: tuple[Target, str]) -> None:
    _, url = target
    async with aiohttp.ClientSession() as session:
        answer = await session.put(f"{url}/a%20b/%C3%BC?q=1&q=%26", data="body")
        asked = await answer.json()
    assert asked == {"method": "PUT", "path": "/user/ann/a%20b/%C3%BC?q=1&q=%26", "body": "body"}
    assert answer.status == 201
    assert answer.headers.getall("Set-Cookie") == ["a=1", "b=2"]


async def test_large_websocket_message_passes(target: tuple[Target, str]) -> None:
    _, url = target
    size = 20 * 2**20
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(f"{url}/socket", max_msg_size=0) as channel,
    ):
        await channel.send_str(str(size))
        message = await asyncio.wait_for(channel.receive(), 20)
    assert len(message.data) == size


@pytest.mark.parametrize(("how", "code"), [("close", 4001), ("vanish", 0)])
async def test_browser_hears_that_the_targets_websocket_has_ended(
    target: tuple[Target, str], how: str, code: int
) -> None:
    _, url = target
    async with aiohttp.ClientSession() as session, session.ws_connect(f"{url}/socket") as channel:
        await channel.send_str(how)
        message = await asyncio.wait_for(channel.receive(), 10)
        assert message.type is aiohttp.WSMsgType.CLOSE
        assert message.data == code


@pytest.mark.parametrize(("path", "status"), [("closed", 403), ("no-socket", 503)])
async def test_websocket_that_the_target_does_not_open_is_refused(
    target: tuple[Target, str], path: str, status: int
) -> None:
    _, url = target
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.WSServerHandshakeError) as caught:
            await session.ws_connect(f"{url}/{path}")
    assert caught.value.status == status


async def test_path_without_a_route_is_404(target: tuple[Target, str]) -> None:
    _, url = target
    async with aiohttp.ClientSession() as session:
        answer = await session.get(url.replace("/user/ann", "/elsewhere"))
        assert answer.status == 404
