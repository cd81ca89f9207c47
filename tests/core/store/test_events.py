"""Events: numbered without gaps, progress that does not fall, waiters that are woken."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from skyport_core.model import PROGRESS, EventDraft, JobState
from skyport_core.store import Store
from tests.core.store.samples import LATER, new_id, put

NEWS = EventDraft("News")


async def progress(store: Store, job_id: str) -> list[int]:
    return [event.progress for event in await store.events(job_id)]


async def test_an_event_carries_what_was_given(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    event = await store.add_event(job.id, EventDraft("m", "r", "h", 42), now=now + LATER)
    assert (event.message, event.reason, event.hint, event.progress) == ("m", "r", "h", 42)
    assert (event.seq, event.time, event.state) == (2, now + LATER, JobState.QUEUED)
    assert (await store.events(job.id))[-1] == event


async def test_an_event_alone_leaves_the_job_as_it_is(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    await store.add_event(job.id, NEWS)
    assert await store.get_job(job.id) == job
    await store.update_job(job, position=1)


async def test_an_event_of_an_unknown_job_is_an_error(store: Store) -> None:
    with pytest.raises(KeyError):
        await store.add_event(new_id(), NEWS)


async def test_events_are_numbered_without_gaps_whoever_adds_them(
    store: Store, now: dt.datetime
) -> None:
    job, other = await put(store, now), await put(store, now)
    await asyncio.gather(
        store.update_job(job, NEWS, position=1),
        *(store.add_event(one.id, NEWS) for one in (job, other) for _ in range(6)),
    )
    assert [event.seq for event in await store.events(job.id)] == list(range(1, 9))
    assert [event.seq for event in await store.events(other.id)] == list(range(1, 8))


async def test_events_can_be_read_from_a_number_on(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    for _ in range(4):
        await store.add_event(job.id, NEWS)
    assert [event.seq for event in await store.events(job.id, after=3)] == [4, 5]
    assert [event.seq for event in await store.events(job.id, after=1, limit=2)] == [2, 3]
    assert await store.events(job.id, after=5) == []


async def test_a_new_state_brings_its_usual_progress(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    for state in (JobState.ALLOCATING, JobState.STAGING, JobState.STARTING, JobState.RUNNING):
        job = await store.update_job(job, NEWS, state=state)
        assert (await progress(store, job.id))[-1] == PROGRESS[state]


async def test_without_a_new_state_progress_stays(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), NEWS, state=JobState.STAGING)
    job = await store.update_job(job, NEWS, position=None)
    await store.add_event(job.id, NEWS)
    assert await progress(store, job.id) == [5, 35, 35, 35]


async def test_a_given_progress_counts(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    await store.update_job(job, EventDraft("x", progress=20), state=JobState.ALLOCATING)
    assert await progress(store, job.id) == [5, 20]


async def test_progress_never_falls_within_an_attempt(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    job = await store.update_job(job, EventDraft("x", progress=50), state=JobState.ALLOCATING)
    job = await store.update_job(job, EventDraft("x", progress=10), state=JobState.STAGING)
    await store.add_event(job.id, EventDraft("x", progress=1))
    await store.add_event(job.id, NEWS)
    assert await progress(store, job.id) == [5, 50, 50, 50, 50]


async def test_a_state_entered_in_silence_counts_too(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), state=JobState.STARTING)
    assert (await store.add_event(job.id, NEWS)).progress == PROGRESS[JobState.STARTING]


async def test_a_new_attempt_starts_over(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), NEWS, state=JobState.STARTING)
    job = await store.update_job(job, NEWS, state=JobState.QUEUED, attempt=1)
    job = await store.update_job(job, NEWS, state=JobState.ALLOCATING)
    assert await progress(store, job.id) == [5, 55, 5, 15]


async def test_progress_ends_at_100(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    await store.add_event(job.id, EventDraft("x", progress=400))
    assert await progress(store, job.id) == [5, 100]


async def test_a_waiter_is_woken_by_a_change(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with store.changes.subscribe(job.id) as subscription:
        waiter = asyncio.ensure_future(subscription.wait(10))
        await store.update_job(job, position=1)
        assert await waiter


async def test_a_waiter_is_woken_by_an_event_and_finds_it(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)

    async def second_event() -> int:
        with store.changes.subscribe(job.id) as subscription:
            while not (found := await store.events(job.id, after=1)):
                assert await subscription.wait(10)
            return found[0].seq

    waiters = [asyncio.ensure_future(second_event()) for _ in range(3)]
    await asyncio.sleep(0)
    await store.add_event(job.id, NEWS)
    assert await asyncio.gather(*waiters) == [2, 2, 2]


async def test_a_change_before_the_wait_counts_once(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with store.changes.subscribe(job.id) as subscription:
        await store.add_event(job.id, NEWS)
        await store.add_event(job.id, NEWS)
        assert await subscription.wait(10)
        assert not await subscription.wait(0)


async def test_a_waiter_for_another_job_sleeps_on(store: Store, now: dt.datetime) -> None:
    job, other = await put(store, now), await put(store, now)
    with store.changes.subscribe(other.id) as subscription:
        await store.add_event(job.id, NEWS)
        assert not await subscription.wait(0)


async def test_a_submission_and_a_deletion_wake_too(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with store.changes.subscribe(job.id) as subscription:
        await store.tombstone(job.id, "ada", now)
        assert await subscription.wait(10)
