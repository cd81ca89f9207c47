"""What callers send as a secret, even where it does not belong, is in no log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from skyport_core.pki.server import ServerOptions

from .behind import Behind, behind_hub
from .secured import HOSTS, served
from .served import Http

SECRET = "5ecre7-0f-a-t0ken"
QUERY = f"token={SECRET}&code={SECRET}&state={SECRET}&error_description={SECRET}"


class Lines(logging.Handler):
    """All that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text += self.format(record) + "\n"


@pytest.fixture
def lines() -> Iterator[Lines]:
    lines, root = Lines(), logging.getLogger()
    level = root.level
    root.addHandler(lines)
    root.setLevel(logging.INFO)
    yield lines
    root.removeHandler(lines)
    root.setLevel(level)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind_hub(tmp_path) as hub:
        yield hub


async def test_at_the_socket(http: Http, lines: Lines) -> None:
    for path in ("/jobs", "/nothing", "/version"):
        await http("GET", f"{path}?{QUERY}", headers={"Authorization": f"token {SECRET}"})
    assert "/api/v1/jobs" in lines.text
    assert SECRET not in lines.text


async def test_at_the_https_door(tmp_path: Path, lines: Lines) -> None:
    async with served(tmp_path, ServerOptions(HOSTS), original=True) as https:
        alice = await https.client("alice")
        for path in ("/jobs", "/nothing", "/../../user/job"):
            await https(alice, "GET", f"{path}?{QUERY}")
    assert "/user/job" in lines.text
    assert SECRET not in lines.text


@pytest.mark.parametrize(
    "path", ["/api/v1/jobs", "/", "/api/docs", "/login", "/oauth_callback", "/nothing"]
)
async def test_behind_the_hub(hub: Behind, lines: Lines, path: str) -> None:
    for query in (QUERY, f"error={SECRET}", f"next=/{SECRET}"):
        for headers in ({}, {"Authorization": f"token {SECRET}"}):
            async with (
                aiohttp.ClientSession() as session,
                session.get(
                    f"{hub.url}{path}?{query}", headers=headers, allow_redirects=False
                ) as answer,
            ):
                await answer.read()
    assert path in lines.text or "login" in lines.text
    assert SECRET not in lines.text


async def test_in_a_request_that_is_none(hub: Behind, lines: Lines) -> None:
    for sent in (
        f"GET {SECRET}\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: token {SECRET}\x01\r\n\r\n",
        f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization token {SECRET}\r\n\r\n",
        f"GET /?token={SECRET} HTTP/9\r\nHost: x\r\n\r\n",
        f"POST /?token={SECRET} HTTP/1.1\r\nHost: x\r\nContent-Length: {SECRET}\r\n\r\n",
    ):
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        writer.write(sent.encode())
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
    assert SECRET not in lines.text
