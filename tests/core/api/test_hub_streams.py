"""Connections that are open behind the hub end with what the token may do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import aiohttp
import pytest

from skyport_core.api.doors.hub import READ, WRITE
from skyport_core.wire import API_PREFIX
from tests.infra.wait import eventually

from .behind import Behind, behind_hub
from .served import JOB, REQUEST, now

TOKEN = {"Authorization": "token abc"}


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind_hub(tmp_path) as hub:
        hub.knows("abc", READ, WRITE)
        await hub.services.store.put_job(JOB, "alice", REQUEST, now())
        yield hub


async def seconds_until_closed(reading: Awaitable[object]) -> float:
    began = time.monotonic()
    with pytest.raises((aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError)):
        await asyncio.wait_for(reading, 5)
    return time.monotonic() - began


@pytest.mark.parametrize(("before", "after"), [([READ, WRITE], []), ([READ], []), ([READ], None)])
async def test_a_stream_ends_with_the_right_to_read(
    hub: Behind, before: list[str], after: list[str] | None
) -> None:
    hub.knows("abc", *before)
    url = f"{hub.url}/api/v1/jobs/{JOB}/events"
    async with aiohttp.ClientSession() as session, session.get(url, headers=TOKEN) as stream:
        await stream.content.readuntil(b"\n\n")
        if after is None:
            del hub.models["abc"]
        else:
            hub.knows("abc", *after)
        assert await seconds_until_closed(stream.content.readexactly(2**20)) < 1


async def test_an_upload_ends_with_the_right_to_write(hub: Behind) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    head = f"POST /services/skyport{API_PREFIX}/jobs HTTP/1.1\r\nHost: x\r\n"
    head += f"Authorization: {TOKEN['Authorization']}\r\nContent-Length: 100\r\n\r\n{{"
    writer.write(head.encode())

    async def watched() -> bool:
        return hub.asked.count("/hub/api/user") > 1

    await eventually(watched, "second look at the token", interval=0.01)
    hub.knows("abc", READ)
    assert await seconds_until_closed(reader.readexactly(1)) < 1
    writer.close()
