"""A core that is killed in the midst of its writes."""

from __future__ import annotations

import asyncio
import datetime as dt
import signal
import sys

import pytest

from tests.core.store.conftest import OpenStore
from tests.core.store.samples import put

WRITER = """
import asyncio, sys
from skyport_core.model import EventDraft
from skyport_core.store import Store

async def main(url, key, job_id):
    store = await Store.open(url, key.encode())
    job = await store.get_job(job_id)
    while True:
        job = await store.update_job(job, EventDraft("step"), position=job.version)
        print(job.version, flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("writes", [1, 7, 40])
async def test_a_killed_writer_leaves_job_and_events_consistent(
    db_url: str, secret_key: bytes, open_store: OpenStore, now: dt.datetime, writes: int
) -> None:
    store = await open_store()
    job = await put(store, now)
    writer = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, db_url, secret_key.decode(), job.id),
        stdout=asyncio.subprocess.PIPE,
    )
    assert writer.stdout is not None
    for _ in range(writes):
        told = int(await asyncio.wait_for(writer.stdout.readline(), 30))
    writer.send_signal(signal.SIGKILL)
    rest = (await writer.stdout.read()).split()
    assert await writer.wait() == -signal.SIGKILL
    told = int(rest[-1]) if rest else told
    found = await store.get_job(job.id)
    assert found is not None
    assert told <= found.version <= told + 1
    assert [event.seq for event in await store.events(job.id)] == list(range(1, found.version + 2))
    assert found.position == found.version - 1
    assert (await store.update_job(found, position=None)).version == found.version + 1
