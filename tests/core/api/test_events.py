"""``/jobs/{id}/events``: replay, follow, and what a client can do to the core."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from skyport_core.model import Event, JobState

from .served import JOB, UNKNOWN, Http, ServedCore, served


@asynccontextmanager
async def stream(
    http: Http, query: str = "", **options: object
) -> AsyncIterator[aiohttp.StreamReader]:
    url = f"http://core/api/v1/jobs/{JOB}/events?{query}"
    async with http.session.get(url, **options) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        yield response.content


async def block(reader: aiohttp.StreamReader) -> dict[str, str]:
    """The next block of the stream; a comment has the name ''."""
    fields: dict[str, str] = {}
    while line := (await asyncio.wait_for(reader.readline(), 10)).decode().rstrip("\n"):
        name, _, value = line.partition(": ")
        fields[name] = value
    return fields


async def blocks(http: Http, query: str = "", **options: object) -> list[dict[str, str]]:
    """All blocks of a stream that ends, without the ``retry:`` that each begins with."""
    async with stream(http, query, **options) as reader:
        assert await block(reader) == {"retry": "1000"}
        found = []
        while fields := await block(reader):
            found.append(fields)
        return found


async def test_replay_has_number_name_and_data(core: ServedCore, http: Http) -> None:
    await core.submit()
    first, *rest = await blocks(http, "follow=false")
    assert rest == []
    assert (first["id"], first["event"]) == ("1", "job")
    data = json.loads(first["data"])
    assert data["state"] == "QUEUED"
    assert data["reason"] == "queued"


async def test_the_stream_of_an_ended_job_ends_with_end(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.end(state=JobState.FAILED)
    *_, last, end = await blocks(http)
    assert json.loads(last["data"])["message"] == "Over"
    assert end == {"event": "end", "data": '{"state": "FAILED"}'}


async def test_after_leaves_out_what_is_known(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.tell("two", "three")
    found = await blocks(http, "follow=false&after=2")
    assert [fields["id"] for fields in found] == ["3"]


async def test_last_event_id_is_the_same_as_after(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.tell("two", "three")
    found = await blocks(http, "follow=false", headers={"Last-Event-ID": "2"})
    assert [fields["id"] for fields in found] == ["3"]


async def test_more_events_than_a_batch_arrive_in_order(core: ServedCore, http: Http) -> None:
    await core.submit()
    await core.tell(*map(str, range(230)))
    found = await blocks(http, "follow=false")
    assert [fields["id"] for fields in found] == [str(seq) for seq in range(1, 232)]


async def test_follow_tells_what_happens_later(core: ServedCore, http: Http) -> None:
    await core.submit()
    async with stream(http) as reader:
        await block(reader)
        await block(reader)
        await core.tell("news")
        assert json.loads((await block(reader))["data"])["message"] == "news"
        await core.end()
        assert (await block(reader))["event"] == "job"
        assert (await block(reader))["event"] == "end"
        assert await reader.read() == b""


async def test_silence_is_broken_by_heartbeats(tmp_path: Path) -> None:
    async with served(tmp_path, heartbeat=0.02) as core, Http(core.socket) as http:
        await core.submit()
        async with stream(http) as reader:
            await block(reader)
            await block(reader)
            assert await block(reader) == {"": "heartbeat"}
            assert await block(reader) == {"": "heartbeat"}


@pytest.mark.parametrize(
    ("query", "headers", "field"),
    [
        ("after=-1", {}, "after"),
        ("after=x", {}, "after"),
        ("follow=perhaps", {}, "follow"),
        ("", {"Last-Event-ID": "x"}, "Last-Event-ID"),
    ],
)
async def test_a_wrong_argument_is_named(
    core: ServedCore, http: Http, query: str, headers: dict[str, str], field: str
) -> None:
    await core.submit()
    answer = await http("GET", f"/jobs/{JOB}/events?{query}", headers=headers)
    assert (answer.status, answer.error["field"]) == (422, field)


async def test_the_events_of_an_unknown_job_are_404(http: Http) -> None:
    assert (await http("GET", f"/jobs/{UNKNOWN}/events")).status == 404


async def test_a_client_that_leaves_leaves_nothing_behind(core: ServedCore, http: Http) -> None:
    await core.submit()
    tasks = asyncio.all_tasks()
    async with stream(http) as reader:
        await block(reader)
        assert core.application.settings["running"]
    await core.idle()
    await http.session.close()
    left = {task for task in asyncio.all_tasks() - tasks if "_server_request_loop" not in str(task)}
    assert left == set()


async def test_a_reader_that_does_not_read_is_not_buffered_for(
    core: ServedCore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.submit()
    await core.tell(*["x" * 20_000] * 400)
    read_up_to = []
    events = core.store.events

    async def watched(job_id: str, after: int = 0, limit: int | None = None) -> list[Event]:
        read_up_to.append(after)
        return await events(job_id, after, limit)

    monkeypatch.setattr(core.store, "events", watched)
    reader, writer = await asyncio.open_unix_connection(str(core.socket), limit=2**10)
    request = f"GET /api/v1/jobs/{JOB}/events?follow=false HTTP/1.1\r\nHost: core\r\n\r\n"
    writer.write(request.encode())
    await reader.readuntil(b"id: 1\n")
    for _ in range(50):
        await core.store.get_job(JOB)
    assert max(read_up_to) == 0, "a second batch was read before the first one was taken"
    while b"id: 401\n" not in await reader.read(2**20):
        pass
    writer.close()
    await writer.wait_closed()
    assert read_up_to == [0, 100, 200, 300, 400, 401]


async def test_closing_the_door_ends_the_streams(core: ServedCore, http: Http) -> None:
    await core.submit()
    async with stream(http) as reader:
        await block(reader)
        await block(reader)
        await core.door.close()
        assert core.application.settings["running"] == set()
        with pytest.raises(aiohttp.ClientPayloadError):
            await reader.read()
