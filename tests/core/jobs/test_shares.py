"""How much of the core one owner may take."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.fernet import Fernet

from skyport_core.caller import Caller
from skyport_core.jobs import shares
from skyport_core.jobs.admission import check_array
from skyport_core.jobs.files import JobFiles
from skyport_core.jobs.service import Jobs
from skyport_core.model import Job
from skyport_core.service import ServiceError
from skyport_core.settings import Settings
from skyport_core.store import Store
from skyport_core.wire import JobRequest

ANN, ADMIN = Caller("ann"), Caller("root", admin=True)


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
        settings=Settings(max_jobs=3),
        now=now,
        sites=SimpleNamespace(gates={"lab": None}),
    )
    reconciler: Any = SimpleNamespace(cancelled=lambda _: None)
    anything: Any = None
    return Jobs(context, reconciler, anything, lambda: None, anything)


async def submit(jobs: Jobs, caller: Caller = ANN, job_id: str = "", **fields: Any) -> Job:
    request = JobRequest(command=("true",), owner="ann", **fields)
    job, _ = await jobs.submit(job_id or str(uuid.uuid4()), "ann", request, by=caller)
    return job


async def test_an_owner_has_so_many_jobs_until_some_have_ended(jobs: Jobs, store: Store) -> None:
    first = await submit(jobs, array="0-1")
    last = await submit(jobs)
    with pytest.raises(ServiceError, match="ann has 3 jobs") as caught:
        await submit(jobs)
    assert caught.value.status == 409
    assert (await submit(jobs, job_id=last.id)).id == last.id
    await submit(jobs, ADMIN)
    await store.cancel_array(first.id, "ann", now())
    await submit(jobs)


async def test_jobs_that_come_at_the_same_time_are_counted_together(
    jobs: Jobs, store: Store
) -> None:
    tries = [submit(jobs, array="0-1") for _ in range(4)]
    made = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, Job) for each in made) == 1
    assert await store.count_live("ann") == 2
    await submit(jobs)


async def test_a_submission_that_is_not_stored_is_not_counted(jobs: Jobs) -> None:
    gone = str(uuid.uuid4())
    await jobs.cancel(gone, "ann")
    for _ in range(4):
        with pytest.raises(Exception, match="deleted before"):
            await submit(jobs, job_id=gone)
    await submit(jobs, array="0-2")


async def test_ids_that_no_job_has_are_used_up_by_a_number_a_day(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "MAX_EARLY", 2)
    job = await submit(jobs)
    for _ in range(2):
        assert await jobs.cancel(str(uuid.uuid4()), "ann") is None
    with pytest.raises(ServiceError) as caught:
        await jobs.cancel(str(uuid.uuid4()), "ann")
    assert caught.value.status == 429
    assert await jobs.cancel(job.id, "ann") is not None
    assert await jobs.cancel(str(uuid.uuid4()), "bob") is None


@pytest.mark.parametrize("field", ["variables", "environment"])
def test_an_array_counts_with_all_that_each_of_its_jobs_has(field: str) -> None:
    values = {f"A{number}": "x" * 131072 for number in range(64)}
    request = JobRequest(command=("x",), array="0-9999", **{field: values})
    with pytest.raises(ServiceError, match="10000 jobs are too many"):
        check_array(request)
    check_array(request.model_copy(update={"array": "0-6"}))


async def test_the_inputs_of_an_owners_jobs_have_a_limit_together(
    store: Store, tmp_path: Path
) -> None:
    files = JobFiles(store, tmp_path, 100, lambda: None, max_total=10)
    first, second = [
        (
            await store.put_job(
                str(uuid.uuid4()),
                "ann",
                JobRequest(command=("x",), owner="ann", inputs=("a", "b")),
                now(),
            )
        )[0]
        for _ in range(2)
    ]
    upload = await files.upload(first, "a", 0o600, 6)
    with pytest.raises(ServiceError, match="all jobs of ann") as caught:
        await files.upload(second, "a", 0o600, 5)
    assert caught.value.status == 413
    await upload.write(b"123456")
    await upload.finish()
    with pytest.raises(ServiceError):
        await files.upload(second, "a", 0o600, 5)
    # The same file again takes its own place.
    await (await files.upload(first, "a", 0o600, 10)).abort()
    await store.tombstone(first.id, "ann", now())
    await store.update_job((await store.get_job(first.id)) or first, state=second.target.CANCELLED)
    await (await files.upload(second, "a", 0o600, 10)).abort()
