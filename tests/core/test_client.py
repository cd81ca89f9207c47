"""The Python client against the real API over a real socket."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from skyport_core.api import Services, UnixDoor, make_application, unix_door
from skyport_core.client import CoreClient, CoreError, CoreUnavailable, default_socket
from skyport_core.model import EventDraft, JobKind, JobState, PartitionState
from skyport_core.wire import EventView, FileUpload, FlavorQuery
from tests.core.api.served import (
    JOB,
    OTHER,
    REQUEST,
    UNKNOWN,
    ServedCore,
    memory_services,
    served,
)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ServedCore]:
    async with served(tmp_path) as core:
        yield core


@pytest.fixture
async def client(core: ServedCore) -> AsyncIterator[CoreClient]:
    async with CoreClient(core.socket) as client:
        yield client


class Restartable:
    """A core whose door can be shut and opened again over the same store."""

    def __init__(self, services: Services, path: Path) -> None:
        self.services = services
        self.path = path
        self._door: UnixDoor | None = None

    async def start(self) -> None:
        self._door = await unix_door(make_application(self.services), self.path)

    async def stop(self) -> None:
        if self._door is not None:
            await self._door.close()


@asynccontextmanager
async def restartable(folder: Path) -> AsyncIterator[Restartable]:
    async with memory_services(folder) as services:
        core = Restartable(services, folder / "core.sock")
        try:
            yield core
        finally:
            await core.stop()


async def test_put_get_list_delete(client: CoreClient) -> None:
    put = await client.put_job(JOB, REQUEST)
    assert (put.id, put.owner, put.state) == (JOB, "alice", JobState.QUEUED)
    assert await client.put_job(JOB, REQUEST) == put
    assert await client.get_job(JOB) == put
    assert await client.list_jobs() == [put]
    deleted = await client.delete_job(JOB)
    assert deleted is not None
    assert deleted.target is JobState.CANCELLED


async def test_an_unknown_job_is_none(client: CoreClient) -> None:
    assert await client.get_job(UNKNOWN) is None


async def test_deleting_what_was_never_submitted_is_none(client: CoreClient) -> None:
    assert await client.delete_job(JOB) is None
    with pytest.raises(CoreError) as caught:
        await client.put_job(JOB, REQUEST)
    assert (caught.value.status, caught.value.code) == (410, "deleted")


async def test_list_passes_its_filters(core: ServedCore, client: CoreClient) -> None:
    await core.submit(JOB, "alice")
    await core.submit(OTHER, "bob")
    assert [job.id for job in await client.list_jobs(owner="bob")] == [OTHER]
    assert await client.list_jobs(states=[JobState.RUNNING, JobState.FAILED]) == []
    assert await client.list_jobs(kind=JobKind.BATCH) == []
    assert [job.id for job in await client.list_jobs(limit=1)] == [OTHER]
    assert [job.id for job in await client.list_jobs(limit=1, after=OTHER)] == [JOB]


async def test_a_refusal_has_code_message_and_field(client: CoreClient) -> None:
    with pytest.raises(CoreError, match="must be a UUID") as caught:
        await client.put_job("no-uuid", REQUEST)
    error = caught.value
    assert (error.status, error.code, error.field) == (422, "invalid", "id")


async def test_environment_and_files_arrive_unchanged(core: ServedCore, client: CoreClient) -> None:
    request = REQUEST.model_copy(update={"environment": {"A": "ü\n'\"$x"}})
    await client.put_job(JOB, request)
    assert await core.store.secrets(JOB) == request.secrets()


@pytest.mark.filterwarnings("error")
async def test_a_large_file_arrives_after_a_restart_too(tmp_path: Path) -> None:
    content = base64.b64encode(bytes(3 * 2**20)).decode()
    request = REQUEST.model_copy(update={"files": (FileUpload(path="big", content=content),)})
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        await core.start()
        await client.health()
        await core.stop()
        await core.start()
        await client.put_job(JOB, request)
        assert await core.services.store.secrets(JOB) == request.secrets()


async def test_log_is_read_on_from_the_next_offset(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    core.jobs.logs["stderr"] = b"0123456789"
    first = await client.log(JOB, "stderr", limit=4)
    rest = await client.log(JOB, "stderr", offset=first.next_offset)
    assert (first.data, rest.data, rest.next_offset) == (b"0123", b"456789", 10)


async def test_sites_flavors_nodes_health(client: CoreClient) -> None:
    assert [site.name for site in await client.sites()] == ["lab"]
    assert [flavor.name for flavor in await client.flavors()] == ["big"]
    assert [node.name for node in await client.nodes()] == ["n1"]
    assert (await client.health()).core_id == "test"


async def test_flavors_come_whole_in_pages(core: ServedCore, client: CoreClient) -> None:
    core.sites.flavor_count = 25
    assert len(await client.flavors(FlavorQuery(limit=10, spot=True))) == 25
    assert [(query.limit, query.after) for query in core.sites.queries] == [
        *((10, None), (10, "10"), (10, "20")),
    ]
    assert all(query.spot is True for query in core.sites.queries)


async def test_no_more_flavors_are_fetched_than_asked_for(
    core: ServedCore, client: CoreClient
) -> None:
    core.sites.flavor_count = 25
    assert len(await client.flavors(FlavorQuery(limit=10), limit=12)) == 12
    assert [query.limit for query in core.sites.queries] == [10, 2]


async def test_one_page_of_flavors_tells_the_rest(core: ServedCore, client: CoreClient) -> None:
    core.sites.flavor_count = 3
    page = await client.flavor_page(FlavorQuery(limit=2, available=False, max_price=0.5))
    assert (len(page.flavors), page.total, page.next) == (2, 3, "2")
    assert core.sites.queries == [FlavorQuery(limit=2, available=False, max_price=0.5)]


async def test_images_and_quotas(client: CoreClient) -> None:
    assert [image.name for image in await client.images()] == ["ubuntu"]
    assert [(quota.used, quota.limit) for quota in await client.quotas()] == [(4, 100)]


async def test_partitions_are_listed_and_deleted(core: ServedCore, client: CoreClient) -> None:
    await core.keep("p1", "alice")
    await core.keep("p2", "bob")
    assert [view.name for view in await client.partitions()] == ["p1", "p2"]
    assert [view.name for view in await client.partitions(owner="bob")] == ["p2"]
    assert (await client.delete_partition("p1")).target is PartitionState.DELETED
    with pytest.raises(CoreError, match="There is no partition p/9") as caught:
        await client.delete_partition("p/9")
    assert caught.value.status == 404


async def test_drain_and_resume(client: CoreClient) -> None:
    drained = await client.drain("lab", "n1", "disk swap")
    assert (drained.state, drained.reason) == ("drained", "disk swap")
    assert (await client.resume("lab", "n1")).state == "up"


async def test_names_with_odd_characters_reach_the_core(client: CoreClient) -> None:
    with pytest.raises(CoreError, match=r"There is no node a/b\? c% at site lab"):
        await client.drain("lab", "a/b? c%")


async def test_events_replay_and_follow_to_the_end(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    seen = []
    async for event in client.events(JOB):
        seen.append((event.seq, event.message))
        if event.seq == 1:
            await core.tell("two")
        elif event.seq == 2:
            await core.end()
    assert seen == [(1, "Waiting for a place"), (2, "two"), (3, "Over")]


async def test_events_without_follow_end_at_once(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    await core.tell("two")
    seen = [event.seq async for event in client.events(JOB, after=1, follow=False)]
    assert seen == [2]


async def test_events_of_an_unknown_job_are_refused(client: CoreClient) -> None:
    with pytest.raises(CoreError, match=UNKNOWN):
        await anext(client.events(UNKNOWN))


async def test_leaving_events_early_ends_the_request(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    async with aclosing(client.events(JOB)) as events:
        await anext(events)
    await core.idle()


async def test_events_go_on_over_a_restart_of_the_core(tmp_path: Path) -> None:
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        await core.start()
        await client.put_job(JOB, REQUEST)
        store = core.services.store
        seen: list[EventView] = []
        first = asyncio.Event()

        async def watch() -> None:
            async for event in client.events(JOB, wait=30):
                seen.append(event)
                first.set()

        watching = asyncio.create_task(watch())
        await asyncio.wait_for(first.wait(), 10)
        await core.stop()
        job = await store.get_job(JOB)
        assert job is not None
        await store.tombstone(JOB, None, job.created_at)
        await core.start()
        job = await store.get_job(JOB)
        assert job is not None
        await store.update_job(job, state=JobState.CANCELLED)
        await asyncio.wait_for(watching, 20)
        assert [event.seq for event in seen] == [1, 2]


async def test_events_give_up_when_the_core_stays_away(tmp_path: Path) -> None:
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        await core.start()
        await client.put_job(JOB, REQUEST)
        events = client.events(JOB, wait=0.2)
        await anext(events)
        await core.stop()
        with pytest.raises(CoreUnavailable, match="Is skyport-core running"):
            await asyncio.wait_for(anext(events), 10)


async def test_the_core_counts_as_away_only_since_it_went(tmp_path: Path) -> None:
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        await core.start()
        await client.put_job(JOB, REQUEST)
        async with aclosing(client.events(JOB, wait=0.5)) as events:
            await anext(events)
            # Longer without news than the core may be away.
            await asyncio.sleep(0.6)
            following = asyncio.ensure_future(anext(events))
            await core.stop()
            await core.start()
            await core.services.store.add_event(JOB, EventDraft("back"))
            assert (await asyncio.wait_for(following, 10)).message == "back"


async def test_a_call_waits_for_a_core_that_is_starting(tmp_path: Path) -> None:
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        calling = asyncio.create_task(client.put_job(JOB, REQUEST, wait=30))
        await asyncio.sleep(0)
        await core.start()
        assert (await asyncio.wait_for(calling, 10)).id == JOB


async def test_a_call_uses_a_core_that_was_restarted_meanwhile(tmp_path: Path) -> None:
    async with restartable(tmp_path) as core, CoreClient(core.path) as client:
        await core.start()
        await client.health()
        await core.stop()
        await core.start()
        assert (await client.health()).status == "ok"


async def test_no_core_is_told_with_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    async with CoreClient(path) as client:
        with pytest.raises(CoreUnavailable, match="no such socket") as caught:
            await client.health()
    assert str(path) in str(caught.value)
    assert "Is skyport-core running" in str(caught.value)


async def test_a_dead_core_is_told(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with CoreClient(path) as client:
        with pytest.raises(CoreUnavailable, match="nobody listens"):
            await client.health()


async def test_too_long_a_path_is_told(tmp_path: Path) -> None:
    async with CoreClient(tmp_path / ("x" * 200)) as client:
        with pytest.raises(CoreUnavailable, match="too long"):
            await client.health()


async def test_a_core_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        async with CoreClient(path, timeout=0.1) as client:
            with pytest.raises(CoreUnavailable, match="did not answer in time"):
                await asyncio.wait_for(client.health(), 10)


async def test_waiting_ends_with_the_last_cause(tmp_path: Path) -> None:
    async with CoreClient(tmp_path / "core.sock") as client:
        loop = asyncio.get_running_loop()
        begin = loop.time()
        with pytest.raises(CoreUnavailable, match="no such socket"):
            await client.health(wait=0.3)
        assert 0.3 <= loop.time() - begin < 3


async def test_more_streams_than_a_usual_pool_holds(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    streams = [client.events(JOB) for _ in range(120)]
    try:
        await asyncio.wait_for(asyncio.gather(*(anext(stream) for stream in streams)), 30)
        assert await asyncio.wait_for(client.get_job(JOB), 10) is not None
    finally:
        for stream in streams:
            await stream.aclose()


@pytest.mark.filterwarnings("error")
async def test_a_closed_client_may_be_used_again(core: ServedCore) -> None:
    client = CoreClient(core.socket)
    await client.health()
    await client.close()
    await client.close()
    assert (await client.health()).status == "ok"
    await client.close()


async def test_a_second_loop_is_refused_while_the_first_one_lives(client: CoreClient) -> None:
    await client.health()
    refused: list[BaseException] = []

    def other_loop() -> None:
        try:
            asyncio.run(client.health())
        except RuntimeError as error:
            refused.append(error)

    thread = threading.Thread(target=other_loop)
    thread.start()
    await asyncio.to_thread(thread.join)
    assert "one event loop" in str(refused[0])


def test_one_loop_after_the_other_is_fine(tmp_path: Path) -> None:
    client = CoreClient(tmp_path / "core.sock")

    async def once() -> None:
        with pytest.raises(CoreUnavailable):
            await client.health()

    asyncio.run(once())
    asyncio.run(_closing(client, once()))


async def _closing(client: CoreClient, work: object) -> None:
    await work  # type: ignore[misc]
    await client.close()


def test_the_socket_is_found_by_the_environment() -> None:
    assert default_socket({"SKYPORT_SOCKET": "/s", "SKYPORT_HOME": "/h"}) == Path("/s")
    assert default_socket({"SKYPORT_HOME": "/h"}) == Path("/h/core.sock")
    assert default_socket({}) == Path.home() / ".local/state/skyport/core.sock"


def test_the_client_brings_nothing_of_the_core_along() -> None:
    code = (
        "import sys, skyport_core.client\n"
        "own = {'.'.join(m.split('.')[:2]) for m in sys.modules if m.startswith('skyport')}\n"
        "heavy = {'tornado', 'sqlalchemy', 'asyncssh', 'traitlets'} & set(sys.modules)\n"
        "print(sorted(own), sorted(heavy))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == (
        "['skyport_core', 'skyport_core.client', 'skyport_core.model', 'skyport_core.wire'] []"
    )
