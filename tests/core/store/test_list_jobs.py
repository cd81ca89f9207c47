"""Reading the queue."""

from __future__ import annotations

import datetime as dt

import pytest

from skyport_core.model import ACTIVE_STATES, EventDraft, Job, JobKind, JobState
from skyport_core.store import Store, Told
from tests.core.store.samples import LATER, new_id, put


@pytest.fixture
async def five(store: Store, now: dt.datetime) -> list[Job]:
    """Five jobs, a minute apart, oldest first."""
    return [await put(store, now + index * LATER) for index in range(5)]


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


async def test_no_job_is_none(store: Store) -> None:
    assert await store.get_job(new_id()) is None
    assert await store.list_jobs() == await store.active_jobs() == []


async def test_jobs_come_by_time_of_submission(store: Store, five: list[Job]) -> None:
    assert await store.list_jobs() == five
    assert await store.list_jobs(newest_first=True) == five[::-1]


async def test_jobs_of_one_moment_keep_one_order(store: Store, now: dt.datetime) -> None:
    jobs = [await put(store, now) for _ in range(5)]
    assert ids(await store.list_jobs()) == sorted(ids(jobs))


async def test_paging_forward(store: Store, five: list[Job]) -> None:
    first = await store.list_jobs(limit=2)
    assert first == five[:2]
    assert await store.list_jobs(limit=2, after=first[-1].id) == five[2:4]
    assert await store.list_jobs(limit=2, after=five[3].id) == five[4:]


async def test_paging_backward(store: Store, five: list[Job]) -> None:
    page = await store.list_jobs(limit=2, before=five[3].id, newest_first=True)
    assert page == [five[2], five[1]]


async def test_a_page_from_an_unknown_job_is_an_error(store: Store) -> None:
    with pytest.raises(KeyError):
        await store.list_jobs(after=new_id())


async def test_pages_of_one_moment_miss_nothing(store: Store, now: dt.datetime) -> None:
    jobs = sorted([await put(store, now) for _ in range(4)], key=lambda job: job.id)
    assert await store.list_jobs(after=jobs[1].id) == jobs[2:]


async def test_pages_of_an_array_come_by_index(store: Store, now: dt.datetime) -> None:
    first = await put(store, now, array="8-11")
    jobs = await store.list_jobs()
    assert [job.array_index for job in jobs] == [8, 9, 10, 11]
    assert await store.list_jobs(after=first.id, limit=2) == jobs[1:3]
    assert await store.list_jobs(before=jobs[2].id, newest_first=True) == jobs[1::-1]
    await store.remove_job(await store.update_job(jobs[1], state=JobState.CANCELLED))
    assert await store.list_jobs(after=jobs[1].id) == jobs[2:]


async def test_by_owner(store: Store, now: dt.datetime) -> None:
    await put(store, now, owner="ada")
    bobs = await put(store, now, owner="bob")
    assert await store.list_jobs(owner="bob") == [bobs]


async def test_by_kind(store: Store, now: dt.datetime) -> None:
    await put(store, now)
    batch = await put(store, now, kind=JobKind.BATCH)
    assert await store.list_jobs(kind=JobKind.BATCH) == [batch]


async def test_by_states(store: Store, five: list[Job]) -> None:
    running = await store.update_job(five[0], state=JobState.RUNNING)
    failed = await store.update_job(five[1], state=JobState.FAILED)
    assert await store.list_jobs(states=[JobState.RUNNING, JobState.FAILED]) == [running, failed]
    assert await store.list_jobs(states=ACTIVE_STATES) == [running, *five[2:]]
    assert await store.list_jobs(states=[]) == []


async def test_active_jobs_are_those_with_work_left(store: Store, five: list[Job]) -> None:
    await store.update_job(five[0], state=JobState.FINISHED)
    pending = await store.update_job(five[1], state=JobState.FAILED, cleanup_pending=True)
    assert await store.active_jobs() == [pending, *five[2:]]
    await store.update_job(pending, cleanup_pending=False)
    assert await store.active_jobs() == five[2:]


async def test_active_jobs_are_as_they_are_now_however_often_they_were_read(
    store: Store, five: list[Job], now: dt.datetime
) -> None:
    assert await store.active_jobs() == five
    await store.update_job(five[0], username="other")
    await store.tell_jobs([Told(five[1], 1, "Busy", EventDraft("Busy", reason="waiting"))])
    await store.tombstone(five[2].id, None, now)
    await store.update_job(five[3], state=JobState.FINISHED)
    changed = [await store.get_job(job.id) for job in five[:3]]
    assert await store.active_jobs() == [*changed, five[4]]
    assert changed != five[:3]
