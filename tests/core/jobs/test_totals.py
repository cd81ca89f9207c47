"""How many bytes the jobs on record of one owner may take of the core."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from skyport_core.caller import Caller
from skyport_core.jobs.service import Jobs
from skyport_core.jobs.totals import AGAIN, StoredTotals, Totals
from skyport_core.model import Job, JobState
from skyport_core.service import ServiceError
from skyport_core.settings import Settings
from skyport_core.store import Store
from skyport_core.wire import JobRequest
from tests.infra.desk import OpenDesk

ANN, ADMIN = Caller("ann"), Caller("root", admin=True)
SCRIPT = "#!/bin/sh\n" + "#" * 40_000


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path / 'core.db'}", Fernet.generate_key())
    yield store
    await store.close()


@pytest.fixture
def jobs(store: Store) -> Jobs:
    context: Any = SimpleNamespace(
        store=store,
        settings=Settings(max_stored_total=100_000),
        now=now,
        sites=SimpleNamespace(gates={"lab": None}),
    )
    reconciler: Any = SimpleNamespace(cancelled=lambda _: None)
    anything: Any = None
    return Jobs(context, reconciler, anything, lambda: None, anything)


async def submit(jobs: Jobs, owner: str = "ann", by: Caller = ANN, job_id: str = "") -> Job:
    request = JobRequest(script=SCRIPT)
    job, _ = await jobs.submit(job_id or str(uuid.uuid4()), owner, request, by=by)
    return job


async def test_scripts_of_ended_jobs_count_until_their_records_go(
    jobs: Jobs, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        job = await submit(jobs)
        job = await store.update_job(job, state=JobState.CANCELLED)
    with pytest.raises(ServiceError) as refused:
        await submit(jobs)
    assert (refused.value.status, refused.value.code) == (409, "too_much_stored")
    assert (await submit(jobs, job_id=job.id)).id == job.id, "a repetition is answered"
    await submit(jobs, "bob", Caller("bob"))
    await submit(jobs, by=ADMIN)

    for each in await store.list_jobs(owner="ann", states=[JobState.CANCELLED]):
        await store.remove_job(each)
    monkeypatch.setattr("skyport_core.jobs.totals.AGAIN", -1.0)
    await submit(jobs)


async def test_what_is_stored_already_counts(store: Store) -> None:
    request = JobRequest(
        script=SCRIPT, variables={"A": "x" * 10_000}, environment={"B": "x" * 30_000}
    )
    await store.put_job(str(uuid.uuid4()), "ann", request, now())
    assert 80_000 < await store.stored_bytes("ann") < 100_000
    with pytest.raises(ServiceError):
        await StoredTotals(store, 85_000).add("ann", 10_000)


async def test_who_is_at_the_limit_is_not_measured_for_each_try() -> None:
    clock, measured = [0.0], []

    async def measure(owner: str) -> int:
        measured.append(owner)
        return 90

    totals = Totals(100, measure, lambda: clock[0])
    for _ in range(5):
        assert await totals.left("ann", 20) == 10
    assert measured == ["ann"]
    clock[0] += AGAIN + 1
    await totals.left("ann", 20)
    assert measured == ["ann"] * 2


async def test_results_that_an_owner_has_no_room_for_stay_behind(open_desk: OpenDesk) -> None:
    desk = await open_desk("c.SkyPortCore.max_outputs_total = 50")
    job_id = await desk.submit("sh", "-c", "head -c 60 /dev/zero > large", outputs=["large"])
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert [each.reason for each in await desk.events(job_id)].count("outputs_left") == 1

    small = await desk.submit("sh", "-c", "head -c 40 /dev/zero > small", outputs=["small"])
    assert (await desk.end(small)).state is JobState.FINISHED
    assert "outputs_left" not in [each.reason for each in await desk.events(small)]
    third = await desk.submit("sh", "-c", "head -c 40 /dev/zero > small", outputs=["small"])
    assert (await desk.end(third)).state is JobState.FINISHED
    assert "outputs_left" in [each.reason for each in await desk.events(third)]
