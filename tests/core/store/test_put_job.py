"""Submitting a job: once, whatever happens."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from skyport_core.model import EventDraft, JobState, next_number, preferred_number
from skyport_core.store import Different, Store, Tombstoned
from skyport_core.wire import JobSecrets
from tests.core.store.conftest import OpenStore
from tests.core.store.samples import LATER, colliding_ids, new_id, put, request


async def test_a_new_job_is_queued_with_its_first_event(store: Store, now: dt.datetime) -> None:
    job_id = new_id()
    wanted = request(name="mine", labels={"b": "2", "a": "1"}, port=8888, cpus=1.5, outputs=("o",))
    job, created = await store.put_job(job_id, "ada", wanted, now)
    assert created
    assert (job.id, job.owner, job.spec, job.version) == (job_id, "ada", wanted.spec(), 0)
    assert (job.state, job.target) == (JobState.QUEUED, JobState.RUNNING)
    assert job.created_at == job.state_since == now
    assert job.number == preferred_number(job_id)
    (event,) = await store.events(job_id)
    assert (event.seq, event.message, event.reason) == (1, "Waiting for a place", "queued")
    assert (event.state, event.progress, event.time) == (JobState.QUEUED, 5, now)


async def test_what_put_returns_is_what_is_stored(store: Store, now: dt.datetime) -> None:
    job = await put(store, now, labels={"a": "1"})
    assert await store.get_job(job.id) == job


async def test_the_same_put_again_is_the_same_job(store: Store, now: dt.datetime) -> None:
    job_id, wanted = new_id(), request(environment={"A": "1", "B": "2"})
    job, _ = await store.put_job(job_id, "ada", wanted, now)
    same = request(environment={"B": "2", "A": "1"})
    assert await store.put_job(job_id, "ada", same, now + LATER) == (job, False)
    assert len(await store.events(job_id)) == 1


async def test_the_same_put_is_recognised_after_the_job_ended(
    store: Store, now: dt.datetime
) -> None:
    job_id, wanted = new_id(), request(environment={"TOKEN": "x"})
    job, _ = await store.put_job(job_id, "ada", wanted, now)
    ended = await store.update_job(job, state=JobState.FINISHED)
    assert await store.put_job(job_id, "ada", wanted, now) == (ended, False)
    with pytest.raises(Different):
        await store.put_job(job_id, "ada", request(environment={"TOKEN": "y"}), now)


@pytest.mark.parametrize(
    "other",
    [
        {"command": ("sleep", "2")},
        {"environment": {"TOKEN": "other"}},
        {"environment_templates": {"TOKEN": "secret"}},
        {"files": ({"path": "f", "content": "QUJD"},)},
        {"memory": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
async def test_other_content_under_the_same_id_is_refused(
    store: Store, now: dt.datetime, other: dict[str, object]
) -> None:
    base: dict[str, object] = {"environment": {"TOKEN": "secret"}}
    job_id = new_id()
    await store.put_job(job_id, "ada", request(**base), now)
    with pytest.raises(Different, match=job_id):
        await store.put_job(job_id, "ada", request(**{**base, **other}), now)


async def test_another_owner_under_the_same_id_is_refused(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with pytest.raises(Different):
        await store.put_job(job.id, "bob", request(), now)


async def test_simultaneous_equal_puts_make_one_job(store: Store, now: dt.datetime) -> None:
    job_id, wanted = new_id(), request(environment={"A": "1"})
    results = await asyncio.gather(*(store.put_job(job_id, "ada", wanted, now) for _ in range(8)))
    assert sorted(created for _, created in results) == [False] * 7 + [True]
    assert len({job.number for job, _ in results}) == 1
    assert len(await store.list_jobs()) == len(await store.events(job_id)) == 1


async def test_simultaneous_puts_through_two_stores_make_one_job(
    open_store: OpenStore, now: dt.datetime
) -> None:
    stores = [await open_store(), await open_store()]
    job_id = new_id()
    results = await asyncio.gather(
        *(store.put_job(job_id, "ada", request(), now) for store in stores * 4)
    )
    assert sum(created for _, created in results) == 1


async def test_jobs_that_prefer_the_same_number_get_the_next_ones(
    store: Store, now: dt.datetime
) -> None:
    ids = colliding_ids(3)
    first = preferred_number(ids[0])
    numbers = [(await store.put_job(job_id, "ada", request(), now))[0].number for job_id in ids]
    assert numbers == [first, next_number(first), next_number(next_number(first))]


async def test_simultaneous_puts_that_prefer_the_same_number_all_get_one(
    open_store: OpenStore, now: dt.datetime
) -> None:
    stores = [await open_store(), await open_store()]
    ids = colliding_ids(4)
    results = await asyncio.gather(
        *(
            stores[index % 2].put_job(job_id, "ada", request(), now)
            for index, job_id in enumerate(ids)
        )
    )
    assert all(created for _, created in results)
    assert len({job.number for job, _ in results}) == 4


async def test_a_job_that_ended_gives_its_number_back(store: Store, now: dt.datetime) -> None:
    first, second = colliding_ids(2)
    job, _ = await store.put_job(first, "ada", request(), now)
    await store.update_job(job, state=JobState.FINISHED)
    assert (await store.put_job(second, "ada", request(), now))[0].number == job.number


async def test_a_job_that_must_be_cleaned_up_keeps_its_number_till_it_was(
    store: Store, now: dt.datetime
) -> None:
    first, second, third = colliding_ids(3)
    job, _ = await store.put_job(first, "ada", request(), now)
    job = await store.update_job(job, state=JobState.FAILED, cleanup_pending=True)
    assert (await store.put_job(second, "ada", request(), now))[0].number != job.number
    await store.update_job(job, cleanup_pending=False)
    assert (await store.put_job(third, "ada", request(), now))[0].number == job.number


async def test_a_put_after_its_delete_is_refused(store: Store, now: dt.datetime) -> None:
    job_id = new_id()
    assert await store.tombstone(job_id, "ada", now) is None
    with pytest.raises(Tombstoned, match=job_id):
        await store.put_job(job_id, "ada", request(), now + LATER)
    assert await store.get_job(job_id) is None


async def test_deleting_before_the_put_may_be_repeated(store: Store, now: dt.datetime) -> None:
    job_id = new_id()
    assert await store.tombstone(job_id, "ada", now) is None
    assert await store.tombstone(job_id, "ada", now + LATER) is None


async def test_a_put_and_a_delete_at_once_never_leave_a_job_that_runs(
    open_store: OpenStore, now: dt.datetime
) -> None:
    stores = [await open_store(), await open_store()]
    for job_id in [new_id() for _ in range(6)]:
        put_, deleted = await asyncio.gather(
            stores[0].put_job(job_id, "ada", request(), now),
            stores[1].tombstone(job_id, "ada", now),
            return_exceptions=True,
        )
        job = await stores[0].get_job(job_id)
        if isinstance(put_, Tombstoned):
            assert job is None and deleted is None
        else:
            assert job is not None and job.target is JobState.CANCELLED


async def test_deleting_a_job_ends_it(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    deleted = await store.tombstone(job.id, "ada", now)
    assert deleted is not None
    assert (deleted.state, deleted.target) == (JobState.QUEUED, JobState.CANCELLED)
    assert await store.get_job(job.id) == deleted
    assert (await store.events(job.id))[-1].reason == "cancel"


async def test_deleting_a_job_twice_changes_nothing_more(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    deleted = await store.tombstone(job.id, "ada", now)
    assert await store.tombstone(job.id, "ada", now) == deleted
    assert len(await store.events(job.id)) == 2


async def test_deleting_keeps_an_end_that_is_decided(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), target=JobState.FINISHED)
    assert await store.tombstone(job.id, "ada", now) == job


async def test_deleting_a_job_that_ended_changes_nothing(store: Store, now: dt.datetime) -> None:
    job = await store.update_job(await put(store, now), state=JobState.FAILED)
    assert await store.tombstone(job.id, "ada", now) == job


async def test_only_the_owner_deletes(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    with pytest.raises(Different):
        await store.tombstone(job.id, "bob", now)
    assert await store.get_job(job.id) == job


async def test_whoever_may_delete_any_job_names_no_owner(store: Store, now: dt.datetime) -> None:
    job = await put(store, now)
    deleted = await store.tombstone(job.id, None, now)
    assert deleted is not None and deleted.target is JobState.CANCELLED


async def test_secrets_come_back(store: Store, now: dt.datetime) -> None:
    files = ({"path": "a/b", "content": "QUJD", "mode": 0o640},)
    wanted = request(environment={"A": "ä\n"}, environment_templates={"B": "{port}"}, files=files)
    job, _ = await store.put_job(new_id(), "ada", wanted, now)
    assert await store.secrets(job.id) == wanted.secrets()


async def test_secrets_are_dropped_when_the_job_ends(store: Store, now: dt.datetime) -> None:
    job = await put(store, now, environment={"TOKEN": "x"})
    job = await store.update_job(job, state=JobState.RUNNING)
    assert (await store.secrets(job.id)).environment == {"TOKEN": "x"}
    await store.update_job(job, EventDraft("Done"), state=JobState.FINISHED)
    assert await store.secrets(job.id) == JobSecrets()


async def test_secrets_of_an_unknown_job_are_an_error(store: Store) -> None:
    with pytest.raises(KeyError):
        await store.secrets(new_id())
