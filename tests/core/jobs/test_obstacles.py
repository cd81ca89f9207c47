"""What keeps a job in the queue besides a lack of room, and records that get old."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from skyport_core.caller import Caller
from skyport_core.jobs.admission import Admission
from skyport_core.jobs.dependencies import Judge, Never, Waits
from skyport_core.jobs.obstacles import Obstacles
from skyport_core.jobs.prospects import Prospects
from skyport_core.jobs.records import Records
from skyport_core.model import Condition, Dependency, EventDraft, Job, JobState
from skyport_core.service import ServiceError
from skyport_core.settings import Settings
from skyport_core.store import Conflict, Store, Tally
from tests.core.cloud import LabGate, log, running_sites
from tests.core.store.samples import new_id, put


async def no_files(job_id: str) -> None:
    """Nothing to remove."""


NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
HOUR = dt.timedelta(hours=1)


@dataclass
class Bench:
    store: Store
    obstacles: Obstacles
    missing: list[str]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    missing = ["data.csv", "more.csv"]

    async def missing_inputs(job: Job) -> Sequence[str]:
        return missing

    try:
        async with running_sites(LabGate()) as sites:
            prospects = Prospects(store, sites, Settings())
            yield Bench(store, Obstacles(store, prospects, missing_inputs, 7200), missing)
    finally:
        await store.close()


async def test_a_job_waits_until_its_inputs_are_there(bench: Bench) -> None:
    job = await put(bench.store, NOW, inputs=("data.csv", "more.csv"))
    found = await bench.obstacles.sort([job], NOW + HOUR)
    assert [told.reason for told in found.waiting] == [
        "Waits for its input file data.csv and 1 more"
    ]
    assert found.next == NOW + 2 * HOUR
    bench.missing.clear()
    assert (await bench.obstacles.sort([job], NOW + HOUR)).open == [job]


async def test_inputs_that_do_not_come_fail_the_job(bench: Bench) -> None:
    job = await put(bench.store, NOW, inputs=("data.csv", "more.csv"))
    [(failed, failure)] = (await bench.obstacles.sort([job], NOW + 2 * HOUR)).hopeless
    assert (failed, failure.reason) == (job, "input_timeout")
    assert "data.csv was not uploaded within 7200 s" in failure.message


async def test_a_held_job_has_its_time_for_inputs_once_it_is_released(bench: Bench) -> None:
    job = await put(bench.store, NOW, inputs=("data.csv",), hold=True)
    released = await bench.store.update_job(job, held=False, now=NOW + 48 * HOUR)
    found = await bench.obstacles.sort([released], NOW + 49 * HOUR)
    assert (found.hopeless, found.next) == ([], NOW + 50 * HOUR)


async def test_a_dependency_on_an_array_is_one_on_all_its_jobs(bench: Bench) -> None:
    first = await put(bench.store, NOW, array="0-1")
    waiting = await put(bench.store, NOW + HOUR, dependencies=(Dependency(job=first.id),))
    before = await bench.obstacles.sort(await bench.store.active_jobs(), NOW)
    await bench.store.update_job(first, state=JobState.FINISHED)
    found = await bench.obstacles.sort(await bench.store.active_jobs(), NOW)
    (told,) = found.waiting
    assert (told.job, told.reason) == (waiting, f"Waits until array {first.id} has finished")
    # One of its jobs has ended: that is no news to all that wait for it.
    assert [each.reason for each in before.waiting] == [told.reason]


async def test_an_array_is_waited_for_after_the_record_of_its_first_job_went(bench: Bench) -> None:
    first = await put(bench.store, NOW, array="0-1")
    await bench.store.remove_job(await bench.store.update_job(first, state=JobState.FINISHED))
    waiting = await put(bench.store, NOW, dependencies=(Dependency(job=first.id),))
    admission = Admission(bench.store, Settings(), ())
    await admission.check("ada", waiting.spec, Caller("ada"))
    found = await bench.obstacles.sort([waiting], NOW)
    assert [told.job for told in found.waiting] == [waiting]


async def test_who_had_a_place_once_waits_for_nobody_again(bench: Bench) -> None:
    first = await put(bench.store, NOW)
    wish = (Dependency(job=first.id, when=Condition.AFTER_OK),)
    ran, refused = [await put(bench.store, NOW, dependencies=wish) for _ in range(2)]
    ran = await bench.store.update_job(ran, state=JobState.ALLOCATING, site="lab")
    ended = [
        await bench.store.update_job(job, state=JobState.FAILED) for job in (ran, refused, first)
    ]
    await bench.store.remove_job(ended.pop())
    for job in ended:
        revived = await bench.store.revive_job(job, EventDraft("Again"))
        await bench.store.update_job(revived, requeue=False)
    found = await bench.obstacles.sort(await bench.store.active_jobs(), NOW)
    assert [job.id for job in found.open] == [ran.id]
    assert [(job.id, failure.reason) for job, failure in found.hopeless] == [
        (refused.id, "dependency")
    ]


async def test_held_jobs_of_an_array_take_none_of_its_places(bench: Bench) -> None:
    await put(bench.store, NOW, array="0-2%1", hold=True)
    last = (await bench.store.active_jobs())[-1]
    await bench.store.update_job(last, held=False)
    found = await bench.obstacles.sort(await bench.store.active_jobs(), NOW)
    assert [job.id for job in found.open] == [last.id]


@pytest.mark.parametrize("wish", [{"array": "0-3%1"}, {"hold": True}])
async def test_who_cannot_start_keeps_no_machine_from_others(
    bench: Bench, wish: dict[str, Any]
) -> None:
    await put(bench.store, NOW, keep="mine", **wish)
    last = await put(bench.store, NOW + HOUR, keep="mine")
    jobs = await bench.store.active_jobs()
    first = jobs[0]
    found = await bench.obstacles.sort(jobs, NOW)
    assert found.open == [last if first.held else first]


def tally(state: JobState | None = None, started: bool = True) -> Tally:
    live = state is None
    failed, cancelled = state is JobState.FAILED, state is JobState.CANCELLED
    return Tally("ann", False, int(live), int(live and not started), int(failed), int(cancelled))


@pytest.mark.parametrize(
    ("when", "found", "verdict"),
    [
        ("after", tally(started=False), Waits),
        ("after", tally(), None),
        ("after", tally(JobState.CANCELLED), None),
        ("afterany", tally(), Waits),
        ("afterany", tally(JobState.FAILED), None),
        ("afterany", None, None),
        ("afterok", tally(), Waits),
        ("afterok", tally(JobState.FINISHED), None),
        ("afterok", tally(JobState.CANCELLED), Never),
        ("afterok", None, Never),
        ("afternotok", tally(), Waits),
        ("afternotok", tally(JobState.FAILED), None),
        ("afternotok", tally(JobState.FINISHED), Never),
    ],
)
def test_conditions_mean_what_they_mean_to_slurm(
    when: str, found: Tally | None, verdict: type | None
) -> None:
    wish = Dependency(job="77777777-7777-4777-8777-777777777777", when=Condition(when))
    said = Judge({wish.job: found} if found is not None else {}).verdict([wish])
    assert said is None if verdict is None else isinstance(said, verdict)


async def test_a_record_that_a_waiting_job_depends_on_stays(bench: Bench, tmp_path: Path) -> None:
    job = await put(bench.store, NOW, array="0-1")
    waiting = await put(bench.store, NOW, dependencies=(Dependency(job=job.id),))
    job = await bench.store.update_job(job, now=NOW, state=JobState.FINISHED)
    records = Records(bench.store, tmp_path, no_files, keep=3600, log=log)
    with pytest.raises(ServiceError, match=f"Job {waiting.id} depends on job {job.id}"):
        await records.remove(job)
    assert await records.remove_old(NOW + 3 * HOUR) == 0
    await bench.store.update_job(waiting, state=JobState.CANCELLED)
    await records.remove(job)
    assert await bench.store.get_job(job.id) is None


async def test_a_job_that_changed_meanwhile_keeps_its_files(bench: Bench, tmp_path: Path) -> None:
    removed: list[str] = []

    async def remove_files(job_id: str) -> None:
        removed.append(job_id)

    job = await bench.store.update_job(await put(bench.store, NOW), state=JobState.FINISHED)
    await bench.store.revive_job(job, EventDraft("Again"))
    with pytest.raises(Conflict):
        await Records(bench.store, tmp_path, remove_files, keep=0, log=log).remove(job)
    assert removed == []


async def test_files_whose_record_went_before_the_core_died_go_too(
    bench: Bench, tmp_path: Path
) -> None:
    removed = []

    async def remove_files(job_id: str) -> None:
        removed.append(job_id)

    gone, kept = [await put(bench.store, NOW) for _ in range(2)]
    for name in (gone.id, kept.id, new_id(), "other"):
        (tmp_path / "jobs" / name).mkdir(parents=True)
    await bench.store.remove_job(await bench.store.update_job(gone, state=JobState.FINISHED))
    await Records(bench.store, tmp_path, remove_files, keep=0, log=log).sweep()
    # What this database never knew may be another's.
    assert removed == [gone.id]


async def test_old_records_go_with_their_files(bench: Bench, tmp_path: Path) -> None:
    removed = []

    async def remove_files(job_id: str) -> None:
        removed.append(job_id)

    old, young = await put(bench.store, NOW), await put(bench.store, NOW)
    for job, end in ((old, NOW), (young, NOW + HOUR)):
        await bench.store.update_job(job, now=end, state=JobState.FINISHED)
    records = Records(bench.store, tmp_path, remove_files, keep=3600, log=log)
    assert await records.remove_old(NOW + 1.5 * HOUR) == 1
    assert removed == [old.id]
    assert await bench.store.get_job(old.id) is None
    assert await bench.store.get_job(young.id) is not None
