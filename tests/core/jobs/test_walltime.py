"""What the core does when a walltime is over, and from when on it counts."""

from __future__ import annotations

import dataclasses
import datetime as dt
import sqlite3
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock, Mock

import pytest

from skyport_core.jobs.attachment import Attachment
from skyport_core.jobs.context import JobContext
from skyport_core.jobs.running import WALLTIME_GRACE, watch
from skyport_core.jobs.starting import start
from skyport_core.jobs.step import Step
from skyport_core.model import Event, EventDraft, Job, JobKind, JobSpec, JobState
from skyport_core.ssh.errors import CommandFailed
from skyport_core.ssh.runner import RunnerStatus
from tests.infra.desk import OpenDesk

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
GRACE = dt.timedelta(seconds=WALLTIME_GRACE)


@pytest.fixture
def job() -> Job:
    spec = JobSpec(command=("sleep", "600"), kind=JobKind.BATCH, walltime=60)
    job = Job("j1", "ann", spec, 1, created_at=NOW, state_since=NOW, state=JobState.RUNNING)
    return dataclasses.replace(
        job,
        node="n1",
        site="lab",
        walltime_told=60,
        started_at=NOW - dt.timedelta(seconds=60),
        expires_at=NOW,
    )


class Told:
    """The events of one job, as a store keeps them."""

    def __init__(self) -> None:
        self.kept: list[Event] = []

    async def events(self, job_id: str) -> list[Event]:
        return self.kept

    async def add_event(self, job_id: str, draft: EventDraft) -> None:
        told = (draft.message, draft.reason, draft.hint)
        self.kept.append(Event(job_id, len(self.kept) + 1, NOW, JobState.RUNNING, 50, *told))


async def looked_at(
    job: Job, at: dt.datetime, lost_for: float | None = None, **answers: AsyncMock
) -> Step:
    """What the core decides for a job that its node still runs."""
    methods = {
        "status": AsyncMock(return_value=RunnerStatus("running", pid=7)),
        "tail": AsyncMock(return_value="its last line"),
        "set_walltime": AsyncMock(),
    }
    runner = Mock(**methods | answers)
    attachment = Mock(spec=Attachment, runner=runner)
    attachment.lost_for.return_value = lost_for
    return await watch(job, a_context(attachment, at))


def a_context(attachment: Attachment, now: dt.datetime) -> JobContext:
    context = SimpleNamespace(
        attachments=Mock(get=AsyncMock(return_value=attachment)),
        settings=SimpleNamespace(node_lost_timeout=300.0),
        store=Told(),
        now=lambda: now,
    )
    return cast(JobContext, context)


async def test_core_looks_again_after_the_walltime(job: Job) -> None:
    assert await looked_at(job, NOW) == Step.wait(WALLTIME_GRACE)


async def test_job_that_its_node_does_not_end_is_ended_by_the_core(job: Job) -> None:
    step = await looked_at(job, NOW + GRACE)
    assert (step.changes["state"], step.changes["target"]) == (
        JobState.COLLECTING,
        JobState.FAILED,
    )
    failure = step.changes["failure"]
    assert failure is not None
    assert (failure.reason, failure.log_tail) == ("walltime", "its last line")


async def test_longer_walltime_is_told_and_waited_for(job: Job) -> None:
    longer = dataclasses.replace(
        job,
        spec=job.spec.model_copy(update={"walltime": 90}),
        expires_at=NOW + dt.timedelta(seconds=30),
    )
    step = await looked_at(longer, NOW + GRACE)
    assert (step.changes, step.again) == ({"walltime_told": 90}, 30.0)


async def test_node_is_told_before_the_core_ends_a_job_itself(job: Job) -> None:
    untold = dataclasses.replace(job, walltime_told=30)
    step = await looked_at(untold, NOW + GRACE)
    assert (step.changes, step.again) == ({"walltime_told": 60}, 0.0)


@pytest.mark.parametrize("broken", ["status", "tail"])
async def test_job_whose_runner_was_broken_is_ended_all_the_same(job: Job, broken: str) -> None:
    answers = {broken: AsyncMock(side_effect=CommandFailed("no such file"))}
    step = await looked_at(job, NOW + GRACE, **answers)
    assert (step.changes["state"], step.changes["target"]) == (
        JobState.COLLECTING,
        JobState.FAILED,
    )


async def test_broken_runner_is_trouble_only_before_that(job: Job) -> None:
    with pytest.raises(CommandFailed):
        await looked_at(job, NOW, status=AsyncMock(side_effect=CommandFailed("no such file")))


async def test_walltime_that_the_node_did_not_take_is_told_once_and_tried_again(job: Job) -> None:
    longer = dataclasses.replace(job, spec=job.spec.model_copy(update={"walltime": 90}))
    refusing = AsyncMock(side_effect=CommandFailed("The timer did not start."))
    runner = Mock(
        status=AsyncMock(return_value=RunnerStatus("running", pid=7)), set_walltime=refusing
    )
    attachment = Mock(spec=Attachment, runner=runner)
    attachment.lost_for.return_value = None
    context = a_context(attachment, NOW)
    for _ in range(2):
        assert await watch(longer, context) == Step(retry=True)
    (event,) = await context.store.events(job.id)
    assert (event.reason, event.message) == (
        "walltime_untold",
        "n1 did not take the new walltime of 90 s; trying again",
    )
    assert "The timer did not start." in event.hint


async def test_job_whose_node_takes_no_walltime_is_ended_when_that_is_over(job: Job) -> None:
    untold = dataclasses.replace(job, walltime_told=30)
    refusing = AsyncMock(side_effect=CommandFailed("The timer did not start."))
    step = await looked_at(untold, NOW + GRACE, set_walltime=refusing)
    assert step.changes["target"] is JobState.FAILED


async def test_walltime_is_kept_by_a_core_that_was_killed_meanwhile(open_desk: OpenDesk) -> None:
    desk = await open_desk("c.SkyPortCore.stop_grace = 0.2")
    job_id = await desk.submit("sleep", "600", walltime=3600)
    await desk.reach(job_id, JobState.RUNNING)
    await desk.core.kill9()
    with sqlite3.connect(desk.core.home / "skyport.sqlite") as database:
        database.execute("UPDATE jobs SET expires_at = '2020-01-01 00:00:00.000000'")
    database.close()
    await desk.core.start()
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "walltime"


async def test_job_on_a_node_that_does_not_answer_is_not_ended(job: Job) -> None:
    assert await looked_at(job, NOW + GRACE, lost_for=100) == Step.wait(200)


async def test_job_without_a_limit_is_not_looked_at(job: Job) -> None:
    free = job.spec.model_copy(update={"walltime": None})
    free_job = dataclasses.replace(job, spec=free, expires_at=None, walltime_told=0)
    assert await looked_at(free_job, NOW + GRACE) == Step.wait()


@pytest.mark.parametrize(("age", "seconds"), [(20, 20), (0, 0), (None, 0), (500, 90)])
async def test_walltime_counts_from_when_the_node_started_the_job(
    job: Job, age: int | None, seconds: int
) -> None:
    starting = dataclasses.replace(job, state=JobState.STARTING, started_at=None, expires_at=None)
    runner = Mock(start=AsyncMock(return_value=RunnerStatus("running", pid=7, age=age)))
    now = NOW + dt.timedelta(seconds=90)
    step = await start(starting, a_context(Mock(spec=Attachment, runner=runner), now))
    assert step.changes["started_at"] == now - dt.timedelta(seconds=seconds)
    assert step.changes["expires_at"] == now - dt.timedelta(seconds=seconds - 60)
