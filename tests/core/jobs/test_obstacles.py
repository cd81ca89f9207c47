"""What keeps a job in the queue besides a lack of room, and records that get old."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from skyport_core.jobs.dependencies import Never, Waits, judge
from skyport_core.jobs.obstacles import Obstacles
from skyport_core.jobs.prospects import Prospects
from skyport_core.jobs.records import Records
from skyport_core.model import Condition, Dependency, Job, JobSpec, JobState
from skyport_core.settings import Settings
from skyport_core.store import Store
from tests.core.cloud import LabGate, log, running_sites
from tests.core.store.samples import put

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


async def test_a_dependency_on_an_array_is_one_on_all_its_jobs(bench: Bench) -> None:
    first = await put(bench.store, NOW, array="0-1")
    waiting = await put(bench.store, NOW + HOUR, dependencies=(Dependency(job=first.id),))
    await bench.store.update_job(first, state=JobState.FINISHED)
    found = await bench.obstacles.sort(await bench.store.active_jobs(), NOW)
    (told,) = found.waiting
    (other,) = [job for job in await bench.store.active_jobs() if job.array_id and job != first]
    assert (told.job, told.reason) == (waiting, f"Waits until job {other.id} has finished")


def other(state: JobState, started: bool = True) -> Job:
    begun = NOW if started else None
    return Job("7" * 36, "ann", JobSpec(), 1, NOW, NOW, state=state, started_at=begun)


@pytest.mark.parametrize(
    ("when", "job", "verdict"),
    [
        ("after", other(JobState.STARTING, started=False), Waits),
        ("after", other(JobState.RUNNING), None),
        ("after", other(JobState.CANCELLED, started=False), None),
        ("afterany", other(JobState.RUNNING), Waits),
        ("afterany", other(JobState.FAILED), None),
        ("afterany", None, None),
        ("afterok", other(JobState.COLLECTING), Waits),
        ("afterok", other(JobState.FINISHED), None),
        ("afterok", other(JobState.CANCELLED), Never),
        ("afterok", None, Never),
        ("afternotok", other(JobState.RUNNING), Waits),
        ("afternotok", other(JobState.FAILED), None),
        ("afternotok", other(JobState.FINISHED), Never),
    ],
)
def test_conditions_mean_what_they_mean_to_slurm(
    when: str, job: Job | None, verdict: type | None
) -> None:
    wish = Dependency(job="77777777-7777-4777-8777-777777777777", when=Condition(when))
    found = judge([wish], {wish.job: [job]} if job is not None else {})
    assert found is None if verdict is None else isinstance(found, verdict)


async def test_old_records_go_with_their_files(bench: Bench) -> None:
    removed = []

    async def remove_files(job_id: str) -> None:
        removed.append(job_id)

    old, young = await put(bench.store, NOW), await put(bench.store, NOW)
    for job, end in ((old, NOW), (young, NOW + HOUR)):
        await bench.store.update_job(job, now=end, state=JobState.FINISHED)
    records = Records(bench.store, remove_files, keep=3600, log=log)
    assert await records.remove_old(NOW + 1.5 * HOUR) == 1
    assert removed == [old.id]
    assert await bench.store.get_job(old.id) is None
    assert await bench.store.get_job(young.id) is not None
