"""Scripts and arrays in the store, jobs that live again, and records that are deleted."""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import hmac
import json
import time
from collections.abc import Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from skyport_core.model import EventDraft, Job, JobState, task_id
from skyport_core.store import Conflict, Different, Store, Told, Tombstoned, intake
from skyport_core.store.cancelling import Cancelled
from skyport_core.wire import JobRequest, JobSecrets
from tests.core.store.samples import LATER, new_id, put, request

SCRIPT = "#!/bin/sh\necho hello\n"
AGAIN = EventDraft("Back in the queue", reason="requeued")


def scripted(**fields: object) -> JobRequest:
    return JobRequest.model_validate({"script": SCRIPT, **fields})


async def test_a_script_is_kept_beside_its_job(store: Store, now: dt.datetime) -> None:
    job, _ = await store.put_job(new_id(), "ada", scripted(), now)
    assert (job.scripted, job.secret, job.spec.command) == (True, False, ())
    assert await store.script(job.id) == SCRIPT
    assert await store.script((await put(store, now)).id) is None


async def test_a_submission_is_recognised_by_what_was_sent(store: Store, now: dt.datetime) -> None:
    job_id, sent = new_id(), scripted()
    first = sent.model_copy(update={"name": "from its directives"})
    later = sent.model_copy(update={"name": "directives are read otherwise now"})
    job, _ = await store.put_job(job_id, "ada", first, now, submitted=sent)
    assert await store.put_job(job_id, "ada", later, now, submitted=sent) == (job, False)
    with pytest.raises(Different):
        await store.put_job(job_id, "ada", first, now)


async def test_digests_of_earlier_releases_still_match(store: Store, now: dt.datetime) -> None:
    wanted = request(cpus=2.0, labels={"disk": "ssd"}, environment={"TOKEN": "x"}, owner="hub")
    spec, secrets = wanted.spec(), wanted.secrets()
    parts = [
        "ada",
        *(part.model_dump(mode="json", exclude_defaults=True) for part in (spec, secrets)),
    ]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    key = store._vault._digest_key
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    assert await store._vault.digest("ada", wanted) == expected


async def test_an_array_is_made_as_a_whole(store: Store, now: dt.datetime) -> None:
    job_id = new_id()
    wanted = scripted(array="1-3,7%2", environment={"TOKEN": "x"})
    first, created = await store.put_job(job_id, "ada", wanted, now)
    assert created and first.id == job_id
    jobs = sorted(await store.list_jobs(array=job_id), key=lambda job: job.array_index or 0)
    assert [job.array_index for job in jobs] == [1, 2, 3, 7]
    assert [job.id for job in jobs[1:]] == [task_id(job_id, index) for index in (2, 3, 7)]
    assert len({job.number for job in jobs}) == 4
    assert {(job.array_id, job.array_limit) for job in jobs} == {(job_id, 2)}
    for job in jobs:
        assert await store.script(job.id) == SCRIPT
        assert await store.secrets(job.id) == JobSecrets(environment={"TOKEN": "x"})
        assert [event.reason for event in await store.events(job.id)] == ["queued"]
    assert await store.put_job(job_id, "ada", wanted, now) == (first, False)


async def test_an_array_one_of_whose_ids_is_taken_is_not_made(
    store: Store, now: dt.datetime
) -> None:
    job_id = new_id()
    await store.put_job(task_id(job_id, 1), "bob", request(), now)
    with pytest.raises(Different):
        await store.put_job(job_id, "ada", request(array="0-2"), now)
    assert await store.get_job(job_id) is None
    assert (await store.put_job(job_id, "ada", request(), now))[1]


async def test_an_array_is_cancelled_as_a_whole(store: Store, now: dt.datetime) -> None:
    first = await put(store, now, array="0-3", environment={"TOKEN": "x"}, hold=True)
    ids = [job.id for job in await store.list_jobs(array=first.id)]
    await store.update_job(first, state=JobState.FINISHED)
    placed = await store.get_job(ids[1])
    assert placed is not None
    placed = await store.update_job(placed, state=JobState.ALLOCATING, site="lab")
    assert await store.cancel_array(first.id, "bob", now) is None
    found = await store.cancel_array(first.id, "ada", now + LATER)
    assert found is not None
    assert (sorted(found.ended), found.ending) == (sorted(ids[2:]), [ids[1]])
    jobs = {job.id: job for job in await store.list_jobs(array=first.id)}
    assert [jobs[each].state.value for each in ids] == [
        "FINISHED",
        "ALLOCATING",
        "CANCELLED",
        "CANCELLED",
    ]
    assert jobs[ids[1]].target is JobState.CANCELLED
    assert (jobs[ids[2]].ended_at, jobs[ids[2]].version) == (now + LATER, 1)
    assert (jobs[ids[2]].held, jobs[ids[2]].wait_reason) == (False, "")
    told = [(event.seq, event.reason, event.progress) for event in await store.events(ids[2])]
    assert told == [(1, "held", 5), (2, "cancelled", 100)]
    assert (await store.events(ids[1]))[-1].reason == "cancel"
    assert await store.secrets(ids[2]) == JobSecrets()
    assert await store.active_jobs() == [jobs[ids[1]]]
    with pytest.raises(Conflict):
        await store.update_job(placed, node="n1")
    assert await store.cancel_array(first.id, None, now) == Cancelled([], [])


async def test_a_submission_that_cannot_be_stored_fails_no_other(
    store: Store, now: dt.datetime
) -> None:
    good = [(new_id(), now) for _ in range(3)]
    unstorable = (new_id(), now.replace(tzinfo=None))
    made = await asyncio.gather(
        *(store.put_job(*each) for each in submissions([good[0], unstorable, *good[1:]])),
        return_exceptions=True,
    )
    assert [isinstance(each, Exception) for each in made] == [False, True, False, False]
    assert len(await store.list_jobs()) == 3


@pytest.mark.parametrize(("whose", "stored"), [("one", 3), ("all", 0)])
async def test_a_fault_of_the_database_is_told_from_one_of_a_submission(
    store: Store, now: dt.datetime, monkeypatch: pytest.MonkeyPatch, whose: str, stored: int
) -> None:
    ids, tries, real = [new_id() for _ in range(4)], [], intake._insert_new

    def insert(connection: sa.Connection, drafts: Sequence[intake.Draft]) -> dict[str, Job]:
        tries.append(len(drafts))
        if whose == "all" or ids[1] in [draft.job.id for draft in drafts]:
            raise OperationalError("INSERT", {}, Exception("too much"))
        return real(connection, drafts)

    monkeypatch.setattr(intake, "_insert_new", insert)
    given = submissions([(job_id, now) for job_id in ids])
    made = await asyncio.gather(*(store.put_job(*each) for each in given), return_exceptions=True)
    assert len(await store.list_jobs()) == stored
    assert sum(isinstance(each, OperationalError) for each in made) == 4 - stored
    # Where nothing can be stored, not each is tried.
    assert sum(tries[1:]) <= 4


def submissions(
    given: list[tuple[str, dt.datetime]],
) -> list[tuple[str, str, JobRequest, dt.datetime]]:
    return [(job_id, "ada", request(), time) for job_id, time in given]


async def test_a_large_array_holds_up_neither_the_loop_nor_others(
    store: Store, now: dt.datetime
) -> None:
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - began)

    watching = asyncio.create_task(watch())
    job, created = await store.put_job(new_id(), "ada", request(array="0-2999"), now)
    watching.cancel()
    assert created
    assert len({each.number for each in await store.list_jobs(array=job.id)}) == 3000
    # What the loop's own thread worked at a time, whatever else this machine does.
    assert longest < 0.1


async def test_an_ended_job_lives_again_with_a_number_of_its_own(
    store: Store, now: dt.datetime
) -> None:
    job = await put(store, now)
    ended = await store.update_job(job, state=JobState.FINISHED, target=JobState.FINISHED)
    revived = await store.revive_job(ended, AGAIN, now=now + LATER)
    assert await store.get_job(job.id) == revived
    assert (revived.state, revived.target) == (JobState.QUEUED, JobState.RUNNING)
    assert (revived.attempt, revived.version, revived.ended_at) == (1, 2, None)
    # Until what its last attempt brought home is removed.
    assert revived.requeue
    assert revived in await store.active_jobs()
    last = (await store.events(job.id))[-1]
    assert (last.reason, last.progress) == ("requeued", 5)


async def test_a_job_with_secrets_does_not_live_again(store: Store, now: dt.datetime) -> None:
    job = await put(store, now, environment={"TOKEN": "x"})
    ended = await store.update_job(job, state=JobState.FINISHED)
    with pytest.raises(ValueError, match="cannot live again"):
        await store.revive_job(ended, AGAIN)


async def test_a_deleted_record_leaves_only_its_id(store: Store, now: dt.datetime) -> None:
    job, _ = await store.put_job(new_id(), "ada", scripted(), now)
    with pytest.raises(ValueError, match="has not ended"):
        await store.remove_job(job)
    ended = await store.update_job(job, state=JobState.FINISHED)
    with pytest.raises(Conflict):
        await store.remove_job(job.__class__(**{**vars(ended), "version": 9}))
    await store.remove_job(ended)
    assert await store.get_job(job.id) is None
    assert await store.events(job.id) == []
    assert await store.script(job.id) is None
    with pytest.raises(Tombstoned):
        await store.put_job(job.id, "ada", scripted(), now)


async def test_the_script_of_an_array_outlives_its_first_job(
    store: Store, now: dt.datetime
) -> None:
    first, _ = await store.put_job(new_id(), "ada", scripted(array="0-1"), now)
    await store.remove_job(await store.update_job(first, state=JobState.CANCELLED))
    assert await store.script(task_id(first.id, 1)) == SCRIPT


async def test_only_jobs_that_ended_long_ago_are_outdated(store: Store, now: dt.datetime) -> None:
    old, young, live = [await put(store, now) for _ in range(3)]
    old = await store.update_job(old, state=JobState.FINISHED, now=now + LATER)
    await store.update_job(young, state=JobState.FINISHED, now=now + 3 * LATER)
    assert await store.outdated_jobs(now + 2 * LATER, 10) == [old]
    assert live.ended_at is None


async def test_many_are_told_why_they_wait(store: Store, now: dt.datetime) -> None:
    jobs = [await put(store, now) for _ in range(3)]
    changed = await store.update_job(jobs[2], wait_reason="other news")
    news = EventDraft("Position 1", reason="waiting")
    await store.tell_jobs([Told(job, 1, "busy", news) for job in jobs], now + LATER)
    for job in jobs[:2]:
        stored = await store.get_job(job.id)
        assert stored is not None
        assert (stored.position, stored.wait_reason, stored.version) == (1, "busy", 1)
        assert (await store.events(job.id))[-1].message == "Position 1"
    assert await store.get_job(changed.id) == changed


async def test_a_place_is_accounted_for_from_when_it_is_given_until_it_is_given_back(
    store: Store, now: dt.datetime
) -> None:
    job = await put(store, now, account="lab-a", cpus=2)
    job = await store.update_job(
        job, now=now, state=JobState.ALLOCATING, site="azure", flavor="small", price=0.5, share=0.25
    )
    day = dt.timedelta(days=1)
    (line,) = await store.usage(now - day, now + day)
    assert (line.account, line.flavor, line.price, line.share) == ("lab-a", "small", 0.5, 0.25)
    assert (line.started_at, line.ended_at) == (now, None)
    job = await store.update_job(job, now=now + LATER, state=JobState.QUEUED, attempt=1, site=None)
    job = await store.update_job(job, now=now + 2 * LATER, state=JobState.ALLOCATING, site="lab")
    await store.update_job(job, now=now + 3 * LATER, state=JobState.FAILED)
    lines = await store.usage(now - day, now + day, owner="ada")
    spans = sorted((line.attempt, line.site, line.ended_at) for line in lines)
    assert spans == [(0, "azure", now + LATER), (1, "lab", now + 3 * LATER)]
    assert await store.usage(now - day, now + day, owner="bob") == []
    assert await store.usage(now + day, now + 2 * day) == []
