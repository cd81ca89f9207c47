"""Calls about jobs, and the blocking face of all calls."""

from __future__ import annotations

import asyncio
import gc
import inspect
import socket
import threading
from contextlib import aclosing
from pathlib import Path

import pytest

from skyport_core.client import Client, ClientClosed, CoreClient, CoreError, CoreUnavailable, Exit
from skyport_core.model import JobState
from skyport_core.wire import JobPatch, JobQuery, JobRequest, OfferRequest, ShellQuery
from skyport_gates.timing import in_time
from tests.core.api.served import JOB, OTHER, REQUEST, ServedCore

from .broken_way import broken_way


async def test_a_submission_gets_an_id_of_its_own(client: CoreClient) -> None:
    first, second = await client.submit(REQUEST), await client.submit(REQUEST)
    assert first.id != second.id


async def test_a_request_is_silent_where_its_caller_was(
    core: ServedCore, client: CoreClient
) -> None:
    await client.put_job(JOB, JobRequest(script="#!/bin/sh\n#SWM name said\n#SWM cpus 3\n", cpus=2))
    view = await client.get_job(JOB)
    assert view is not None
    assert (view.name, view.cpus, view.kind.value) == ("said", 2, "batch")
    assert "#SWM cpus 3" in await client.script(JOB)


async def test_jobs_come_in_pages(core: ServedCore, client: CoreClient) -> None:
    ids = [f"6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a{number:02d}" for number in range(5)]
    for job_id in ids:
        await core.submit(job_id)
    found = [view.id async for view in client.jobs(JobQuery(limit=2))]
    assert found == ids[::-1]


async def test_hold_release_rename_extend(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    assert (await client.hold(JOB)).held
    assert not (await client.release(JOB)).held
    assert (await client.rename(JOB, "new")).name == "new"
    assert (await client.extend(JOB, 99)).walltime == 99


async def test_a_change_of_another_version_is_refused(core: ServedCore, client: CoreClient) -> None:
    await core.submit()
    with pytest.raises(CoreError) as caught:
        await client.patch_job(JOB, JobPatch(name="x"), version=99)
    assert caught.value.status == 412


async def test_a_record_is_deleted_once_its_job_has_ended(
    core: ServedCore, client: CoreClient
) -> None:
    await core.submit()
    with pytest.raises(CoreError) as caught:
        await client.delete_record(JOB)
    assert caught.value.status == 409
    await core.end()
    await client.delete_record(JOB)
    assert await client.get_job(JOB) is None
    await client.delete_record(JOB)


async def test_offers_usage_tunnels_version(client: CoreClient) -> None:
    assert (await client.offers(OfferRequest(cpus=2))).verdict == "starts"
    assert (await client.usage()).usage == []
    assert {view.owner for view in await client.tunnels()} == {"alice", "bob"}
    assert (await client.version()).api == ["v1"]


async def test_a_followed_log_is_read_on_where_it_broke(core: ServedCore, tmp_path: Path) -> None:
    await core.submit()
    core.jobs.logs["stdout"] = bytes(range(256)) * 2**9
    async with broken_way(tmp_path, core.socket) as way, CoreClient(way.path) as client:
        way.cut_after, way.cuts = 2**15, 2
        data = bytearray()
        async with aclosing(client.follow_log(JOB)) as chunks:
            async for chunk in chunks:
                data += chunk.data
                assert chunk.next_offset == len(data)
                if len(data) == 2**17:
                    await core.end()
    assert bytes(data) == core.jobs.logs["stdout"]
    assert way.cuts == 0


async def test_an_answer_that_asks_for_patience_is_waited_for(tmp_path: Path) -> None:
    path, calls = tmp_path / "busy.sock", 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal calls
        await reader.readuntil(b"\r\n\r\n")
        calls += 1
        body = b'{"error": {"code": "too_often", "message": "Slower."}}'
        head = b"429 Too Many\r\nRetry-After: 0"
        if calls == 3:
            body, head = b'{"version": "1", "api": ["v1"]}', b"200 OK"
        length = str(len(body)).encode()
        writer.write(b"HTTP/1.1 %s\r\nContent-Length: %s\r\n\r\n%s" % (head, length, body))
        writer.close()

    async with await asyncio.start_unix_server(answer, path), CoreClient(path) as client:
        assert (await client.version()).version == "1"
    assert calls == 3


async def test_a_requeue_that_may_have_arrived_is_not_repeated(
    core: ServedCore, tmp_path: Path
) -> None:
    await core.submit()
    async with broken_way(tmp_path, core.socket) as way, CoreClient(way.path) as client:
        way.cut_after, way.cuts = 0, 9
        with pytest.raises(CoreUnavailable):
            await client.requeue(JOB, wait=5)
    assert way.cuts == 8


# -- the nodes of jobs -----------------------------------------------------------------------------


async def running(core: ServedCore) -> None:
    await core.store.update_job(await core.submit(), state=JobState.RUNNING)


async def test_a_command_on_the_node_echoes(core: ServedCore, client: CoreClient) -> None:
    await running(core)
    done = await client.run_on_node(JOB, ["cat"], stdin=b"x" * 2**19)
    assert done == (Exit(0), b"x" * 2**19, b"")


async def test_a_terminal_has_a_size(core: ServedCore, client: CoreClient) -> None:
    await running(core)
    async with client.shell(JOB, ShellQuery(cols=100, rows=30)) as shell:
        await shell.resize(120, 40)
        await shell.write(b"keys")
        await shell.write_eof()
        assert [part async for part in shell.read()] == [(1, b"keys")]
    reach = core.services.reach
    assert reach.queries[0].cols == 100  # type: ignore[attr-defined]
    assert reach.pipes[0].size == (120, 40)  # type: ignore[attr-defined]


async def test_a_shell_of_a_job_that_waits_is_refused_in_words(
    core: ServedCore, client: CoreClient
) -> None:
    await core.submit()
    with pytest.raises(CoreError, match="is QUEUED: its node is in reach while it runs") as caught:
        await client.run_on_node(JOB, ["true"])
    assert caught.value.status == 409


async def test_a_shell_ends_with_its_job(core: ServedCore, client: CoreClient) -> None:
    await running(core)
    with pytest.raises(CoreError, match="The job has ended"):
        async with client.shell(JOB) as shell:
            await core.end()
            async for _ in shell.read():
                pass


async def test_a_forward_carries_many_connections(core: ServedCore, client: CoreClient) -> None:
    await running(core)

    async def echo(port: int, data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(data)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async with client.forward(JOB, 8888) as forward:
        words = [str(number).encode() * 1000 for number in range(8)]
        answers = await asyncio.gather(*(echo(forward.port, word) for word in words))
    assert answers == words


async def test_a_forward_tells_why_a_connection_failed(
    core: ServedCore, client: CoreClient
) -> None:
    await running(core)
    async with client.forward(JOB, 1) as forward:
        reader, writer = await asyncio.open_connection("127.0.0.1", forward.port)
        assert await reader.read() == b""
        writer.close()
    assert "Nothing answers at port 1" in str(forward.failure)


# -- the blocking face -----------------------------------------------------------------------------


def test_every_call_has_a_blocking_face() -> None:
    def calls(kind: type) -> dict[str, str]:
        return {
            name: str(inspect.signature(member)).replace("AsyncGenerator", "")
            for name, member in inspect.getmembers(kind, inspect.isfunction)
            if not name.startswith("_")
        }

    channels = {"shell", "port", "forward"}
    asynchronous = {name: text for name, text in calls(CoreClient).items() if name not in channels}
    blocking = {name: text for name, text in calls(Client).items() if name not in channels}
    assert blocking == asynchronous
    assert Client.get_job.__doc__ == CoreClient.get_job.__doc__


async def test_the_blocking_client_works_in_any_thread(core: ServedCore) -> None:
    def work() -> list[str]:
        with Client(core.socket) as client:
            client.put_job(JOB, REQUEST)
            client.put_job(OTHER, REQUEST)
            first = next(iter(client.events(JOB, follow=False)))
            assert first.seq == 1
            assert client.get_job("00000000-0000-4000-8000-000000000000") is None
            return [job.id for job in client.jobs(JobQuery(limit=1))]

    assert await asyncio.to_thread(work) == [OTHER, JOB]


async def test_closing_the_blocking_client_ends_what_other_threads_wait_for(
    core: ServedCore,
) -> None:
    await core.submit()
    client = Client(core.socket)
    waiting = threading.Event()

    def work() -> None:
        for _ in client.events(JOB):
            waiting.set()

    working = asyncio.create_task(asyncio.to_thread(work))
    assert await asyncio.to_thread(waiting.wait, 10)
    await in_time(asyncio.to_thread(client.close), 10)
    with pytest.raises(ClientClosed, match="The client was closed"):
        await in_time(working, 10)


async def test_what_is_left_of_a_closed_blocking_client_starts_nothing_anew(
    core: ServedCore,
) -> None:
    await running(core)

    def work() -> None:
        client = Client(core.socket)
        read, abandoned = client.events(JOB), client.events(JOB)
        assert next(read).seq == next(abandoned).seq == 1
        with client.forward(JOB, 8888):
            client.close()
        with pytest.raises(ClientClosed):
            next(read)
        del abandoned
        gc.collect()
        assert "skyport-client" not in [thread.name for thread in threading.enumerate()]
        assert client.get_job(JOB) is not None
        client.close()

    await asyncio.to_thread(work)


async def test_the_blocking_client_forwards_ports(core: ServedCore) -> None:
    await running(core)

    def work() -> bytes:
        with (
            Client(core.socket) as client,
            client.forward(JOB, 8888) as forward,
            socket.create_connection((forward.host, forward.port), 10) as there,
        ):
            there.sendall(b"hello")
            there.shutdown(socket.SHUT_WR)
            return there.recv(100)

    assert await asyncio.to_thread(work) == b"hello"
