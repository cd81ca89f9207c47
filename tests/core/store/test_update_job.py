"""Changing a job: optimistic, atomic, with an event."""

from __future__ import annotations

import asyncio
import datetime as dt
from types import MappingProxyType
from typing import Any

import pytest

from skyport_core.model import EventDraft, Failure, Job, JobState, Resources
from skyport_core.store import Conflict, Different, Store
from tests.core.store.conftest import OpenStore
from tests.core.store.samples import LATER, put, request

DONE = EventDraft("Done", reason="exit")


async def test_every_field_comes_back(store: Store, now: dt.datetime) -> None:
    changes: dict[str, Any] = {
        "state": JobState.RUNNING,
        "target": JobState.FINISHED,
        "site": "lab",
        "node": "node1",
        "username": "ada",
        "partition": "p1",
        "reserved": Resources(1.5, 2**33, 1),
        "listen": ("127.96.0.1", 8888),
        "forward_ports": MappingProxyType({"hub": 12345}),
        "excluded": MappingProxyType({"lab/node2": "no disk"}),
        "attempt": 2,
        "position": 3,
        "wait_reason": "full",
        "deadline": now + LATER,
        "started_at": now,
        "expires_at": now + LATER,
        "exit_code": -15,
        "failure": Failure("oom", "Out of memory", "Ask for more", "log"),
        "cleanup_pending": True,
    }
    job = await put(store, now)
    updated = await store.update_job(job, now=now + LATER, **changes)
    assert {name: getattr(updated, name) for name in changes} == changes
    assert await store.get_job(job.id) == updated


async def test_a_change_counts_the_version_up(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    assert (await store.update_job(job, position=1)).version == job.version + 1


async def test_a_change_of_an_outdated_job_is_a_conflict(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    current = await store.update_job(job, position=1)
    with pytest.raises(Conflict, match=job.id):
        await store.update_job(job, DONE, position=2)
    assert await store.get_job(job.id) == current
    assert len(await store.events(job.id)) == 1


async def test_a_change_of_an_unknown_job_is_a_conflict(store: Store, now: dt.datetime) -> None:
    job = Job("none", "ada", request().spec(), 1, now, now)
    with pytest.raises(Conflict):
        await store.update_job(job, position=1)


async def test_of_simultaneous_changes_one_wins(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    results = await asyncio.gather(
        *(store.update_job(job, DONE, position=place) for place in range(6)),
        return_exceptions=True,
    )
    winners = [result for result in results if isinstance(result, Job)]
    assert len(winners) == 1 and sum(isinstance(r, Conflict) for r in results) == 5
    assert await store.get_job(job.id) == winners[0]
    assert [event.seq for event in await store.events(job.id)] == [1, 2]


async def test_a_new_state_says_since_when(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), now=now + LATER, state=JobState.STAGING)
    assert job.state_since == now + LATER
    job = await store.update_job(job, now=now + 2 * LATER, state=JobState.STAGING, position=None)
    assert job.state_since == now + LATER


@pytest.mark.parametrize("state", [JobState.FINISHED, JobState.FAILED, JobState.CANCELLED])
async def test_a_final_state_says_when(store: Store, now: dt.datetime, state: JobState) -> None:
    job = await store.update_job(await put(store, now), now=now + LATER, state=state)
    assert job.ended_at == now + LATER


async def test_a_job_that_ended_cannot_live_again(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), state=JobState.FAILED)
    with pytest.raises(ValueError, match="has ended as FAILED"):
        await store.update_job(job, state=JobState.QUEUED)
    with pytest.raises(ValueError, match="gave its number back"):
        await store.update_job(job, cleanup_pending=True)
    assert await store.get_job(job.id) == job


@pytest.mark.parametrize("field", ["id", "owner", "array_id", "number", "version", "nonsense"])
async def test_fields_of_the_store_cannot_be_set(
    store: Store, now: dt.datetime, field: str
) -> None:
    job = await put(store, now)
    with pytest.raises(TypeError, match=field):
        await store.update_job(job, **{field: "x"})  # type: ignore[arg-type]


async def test_text_that_databases_cannot_hold_is_replaced(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    failure = Failure("exit", "bad \0", "", "tail \udcff end")
    job = await store.update_job(
        job, EventDraft("what \0 is \udcff"), failure=failure, excluded={"lab/n": "\udcff"}
    )
    stored = await store.get_job(job.id)
    assert stored is not None and stored.failure is not None
    assert stored.failure.message == "bad \ufffd" and stored.failure.log_tail == "tail ? end"
    assert stored.excluded == {"lab/n": "?"}
    assert (await store.events(job.id))[-1].message == "what \ufffd is ?"


async def test_a_naive_datetime_is_refused(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with pytest.raises(Exception, match="no time zone"):
        await store.update_job(job, deadline=dt.datetime(2030, 1, 1))


async def test_another_zone_is_stored_as_utc(store: Store, now: dt.datetime) -> None:
    zone = dt.timezone(dt.timedelta(hours=5))
    job = await store.update_job(await put(store, now), deadline=now.astimezone(zone))
    stored = await store.get_job(job.id)
    assert stored is not None and stored.deadline == now
    assert stored.deadline.tzinfo is dt.timezone.utc


async def test_the_error_of_another_owner_does_not_name_it(store: Store, now: dt.datetime) -> None:
    job = await put(store, now, owner="ada")
    with pytest.raises(Different) as caught:
        await store.put_job(job.id, "bob", request(), now)
    assert "ada" not in str(caught.value)


async def test_an_interrupted_change_happens_entirely_or_not_at_all(
    open_store: OpenStore, now: dt.datetime
) -> None:
    store = await open_store()
    jobs = [await put(store, now) for _ in range(12)]
    for turns, job in enumerate(jobs):
        task = asyncio.ensure_future(store.update_job(job, DONE, position=turns))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await store.close()
    again = await open_store()
    for job in await again.list_jobs():
        assert len(await again.events(job.id)) == job.version + 1


async def test_an_interrupted_change_holds_nobody_up(store: Store, now: dt.datetime) -> None:
    first, second = await put(store, now), await put(store, now)
    for turns in range(40):
        task = asyncio.ensure_future(store.add_event(first.id, DONE))
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await asyncio.wait_for(store.update_job(second, position=1), 10)


async def test_what_comes_too_late_for_a_cancelled_caller_is_no_news(
    store: Store, now: dt.datetime, caplog: pytest.LogCaptureFixture
) -> None:
    job = await put(store, now)
    await store.update_job(job, position=1)
    task = asyncio.ensure_future(store.update_job(job, position=2))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await store.close()
    assert caplog.records == []
