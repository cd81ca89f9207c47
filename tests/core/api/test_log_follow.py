"""Following a log: every byte once, one reader for all, and nothing left when a client goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest

from skyport_core.jobs import following
from skyport_core.jobs.following import Feeds
from skyport_core.model import Job, JobState
from skyport_core.wire import API_PREFIX
from tests.core.api.served import JOB, Http, ServedCore
from tests.infra.wait import eventually


@pytest.fixture
async def running(core: ServedCore) -> Job:
    """A job on a node, which has written nothing yet."""
    job = await core.submit()
    place = {"site": "lab", "node": "n1", "username": "alice"}
    return await core.store.update_job(job, state=JobState.RUNNING, **place)


@pytest.fixture
def feeds(core: ServedCore) -> Feeds:
    assert isinstance(core.services.logs, Feeds)
    return core.services.logs


@pytest.fixture
def looks(core: ServedCore, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The offsets at which the log was read."""
    offsets: list[int] = []
    original = core.jobs.log

    async def log(job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        offsets.append(offset)
        return await original(job, stream, offset, limit)

    monkeypatch.setattr(core.jobs, "log", log)
    return offsets


@asynccontextmanager
async def followed(http: Http, query: str = "") -> AsyncIterator[aiohttp.StreamReader]:
    url = f"http://core{API_PREFIX}/jobs/{JOB}/log?follow=true{query}"
    async with http.session.get(url) as response:
        assert response.status == 200
        assert response.content_type == "text/plain"
        yield response.content


def write(core: ServedCore, data: bytes, stream: str = "stdout") -> None:
    core.jobs.logs[stream] = core.jobs.logs.get(stream, b"") + data


async def soon(reading: object) -> bytes:
    return await asyncio.wait_for(reading, 10)  # type: ignore[call-overload, no-any-return]


async def test_what_is_written_arrives_and_the_end_comes_with_the_end_of_the_job(
    core: ServedCore, http: Http, running: Job, feeds: Feeds
) -> None:
    write(core, b"first\n")
    async with followed(http) as reader:
        assert await soon(reader.readline()) == b"first\n"
        write(core, b"second\n")
        assert await soon(reader.readline()) == b"second\n"
        write(core, b"last")
        await core.end()
        assert await soon(reader.read()) == b"last"
    await core.idle()
    assert feeds.count == 0


@pytest.mark.parametrize(("offset", "expected"), [(0, b"abcdef"), (4, b"ef"), (99, b"")])
async def test_any_offset_may_be_the_first(
    core: ServedCore, http: Http, running: Job, offset: int, expected: bytes
) -> None:
    write(core, b"abcdef", "stderr")
    await core.end()
    async with followed(http, f"&stream=stderr&offset={offset}") as reader:
        assert await soon(reader.read()) == expected


async def test_followers_share_one_reader(
    core: ServedCore, http: Http, running: Job, looks: list[int], feeds: Feeds
) -> None:
    async def everything() -> bytes:
        return b"".join([data async for data in feeds.follow(running, "stdout", 0)])

    readers = [asyncio.create_task(everything()) for _ in range(200)]
    await eventually(lambda: bool(looks), "the first look", 5)
    for number in range(3):
        write(core, b"%d" % number)
        seen = len(looks)
        await eventually(lambda seen=seen: len(looks) > seen + 1, "another look", 5)
    assert feeds.count == 1
    assert len(looks) < 30
    await core.end()
    assert set(await asyncio.gather(*readers)) == {b"012"}
    assert feeds.count == 0


async def test_who_comes_later_or_reads_slowly_gets_every_byte_too(
    core: ServedCore, running: Job, feeds: Feeds
) -> None:
    text = b"".join(b"%07d\n" % number for number in range(following.WINDOW // 4))
    write(core, text)
    slow = feeds.follow(running, "stdout", 0)
    got = await anext(slow)
    await eventually(lambda: _window(feeds) > following.WINDOW, "the reader's progress", 10)
    late = [data async for data in _until(feeds.follow(running, "stdout", 5), len(text) - 5)]
    assert b"".join(late) == text[5:]
    await core.end()
    async for data in slow:
        got += data
    assert got == text


async def test_a_job_that_starts_over_is_followed_from_its_new_first_byte(
    core: ServedCore, http: Http, running: Job
) -> None:
    write(core, b"old\n")
    async with followed(http) as reader:
        assert await soon(reader.readline()) == b"old\n"
        job = await core.store.get_job(JOB)
        assert job is not None
        nowhere = {"site": None, "node": None, "username": None}
        job = await core.store.update_job(job, state=JobState.QUEUED, attempt=1, **nowhere)
        core.jobs.logs["stdout"] = b"new\n"
        await core.store.update_job(job, state=JobState.RUNNING, site="lab", node="n2")
        await core.end()
        assert await soon(reader.read()) == b"new\n"


async def test_an_idle_log_is_looked_at_less_and_less(
    core: ServedCore, running: Job, feeds: Feeds, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "FIRST_LOOK", 0.005)
    monkeypatch.setattr(following, "LAST_LOOK", 0.1)
    began = asyncio.get_running_loop().time()
    reading = asyncio.create_task(anext(feeds.follow(running, "stdout", 0)))
    await eventually(lambda: len(looks) > 9, "the log is looked at", interval=0.005)
    pauses = sum(min(0.1, 0.005 * 1.5**number) for number in range(8))
    assert asyncio.get_running_loop().time() - began > pauses
    write(core, b"x")
    assert await soon(reading) == b"x"


async def test_nobody_reads_on_for_a_client_that_left(
    core: ServedCore, http: Http, running: Job, feeds: Feeds
) -> None:
    write(core, b"x\n")
    async with followed(http) as reader:
        await soon(reader.readline())
        assert feeds.count == 1
    await eventually(lambda: feeds.count == 0, "end of the reader", 5)
    await core.idle()


async def test_a_client_that_does_not_read_is_not_buffered_for(
    core: ServedCore, running: Job
) -> None:
    write(core, bytes(8 * 2**20))
    reader, writer = await asyncio.open_unix_connection(str(core.socket), limit=2**16)
    path = f"{API_PREFIX}/jobs/{JOB}/log?follow=true"
    writer.write(f"GET {path} HTTP/1.1\r\nHost: core\r\n\r\n".encode())
    await soon(reader.readuntil(b"\r\n\r\n"))
    feeds = core.services.logs
    assert isinstance(feeds, Feeds)
    await eventually(lambda: _window(feeds) == len(core.jobs.logs["stdout"]), "the reader", 10)
    assert all(len(feed._window) <= following.WINDOW for feed in feeds._feeds.values())
    writer.close()
    await core.idle()


def _window(feeds: Feeds) -> int:
    """Bytes that the only reader has read."""
    (feed,) = feeds._feeds.values()
    return feed._start + len(feed._window)


async def _until(feed: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    """What comes until there are ``size`` bytes."""
    async for data in feed:
        yield data
        size -= len(data)
        if size <= 0:
            return
