"""What the core does when a walltime is over, and from when on it counts."""

from __future__ import annotations

import dataclasses
import datetime as dt
from types import SimpleNamespace
from typing import cast
from unittest.mock import AsyncMock, Mock

import pytest

from skyport_core.jobs.attachment import Attachment
from skyport_core.jobs.context import JobContext
from skyport_core.jobs.running import WALLTIME_GRACE, watch
from skyport_core.jobs.starting import start
from skyport_core.jobs.step import Step
from skyport_core.model import Job, JobKind, JobSpec, JobState
from skyport_core.ssh.runner import RunnerStatus

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


async def looked_at(job: Job, at: dt.datetime, lost_for: float | None = None) -> Step:
    """What the core decides for a job that its node still runs."""
    runner = Mock(
        status=AsyncMock(return_value=RunnerStatus("running", pid=7)),
        tail=AsyncMock(return_value="its last line"),
        set_walltime=AsyncMock(),
    )
    attachment = Mock(spec=Attachment, runner=runner)
    attachment.lost_for.return_value = lost_for
    return await watch(job, a_context(attachment, at))


def a_context(attachment: Attachment, now: dt.datetime) -> JobContext:
    context = SimpleNamespace(
        attachments=Mock(get=AsyncMock(return_value=attachment)),
        settings=SimpleNamespace(node_lost_timeout=300.0),
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
