"""The ties of a job to its node: none is left behind, and none leads to a node that it left."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import pytest

from skyport_core.jobs.attachment import Attachments
from skyport_core.jobs.service import Jobs
from skyport_core.model import Job, JobSpec, JobState
from skyport_core.settings import Settings
from skyport_core.ssh.errors import NodeUnreachable
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_gates.gate import Node, SSHEndpoint
from tests.core.cloud import log

NOBODY = SSHEndpoint("127.0.0.1", 1)


class Ground:
    """Sites that know every node."""

    async def find_node(self, site: str, node: str, partition: str | None) -> Node:
        return Node(node, NOBODY, "small", cpus=1, memory=1024)


class SlowListener:
    """A listener whose end takes until it may."""

    def __init__(self) -> None:
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def close(self) -> None:
        self.begun.set()
        await self.may_end.wait()


@pytest.fixture
async def attachments(tmp_path: Path) -> AsyncIterator[Attachments]:
    pool = ConnectionPool(SSHIdentity.load(tmp_path))
    made = Attachments(
        pool, cast(Any, Ground()), Settings(), wake=lambda _: None, warn=lambda _: None
    )
    yield made
    await made.close_all()
    await pool.close()


@pytest.fixture
def job() -> Job:
    now = dt.datetime.now(dt.timezone.utc)
    return Job(
        "1",
        "alice",
        JobSpec(command=("true",)),
        1,
        now,
        now,
        state=JobState.RUNNING,
        site="cloud",
        node="old-0",
        username="alice",
        partition="old",
    )


def gone_on(job: Job) -> Job:
    """The job on its next machine."""
    return replace(job, node="new-0", partition="new", attempt=job.attempt + 1)


def front(attachments: Attachments, home: Path, later: Job | None) -> Jobs:
    """What the API asks for logs, when the job has become ``later`` meanwhile."""
    context = SimpleNamespace(
        attachments=attachments,
        outputs=lambda job_id: home,
        sites=SimpleNamespace(gates={}),
        settings=Settings(),
        store=SimpleNamespace(get_job=mock.AsyncMock(return_value=later)),
        log=log,
    )
    return Jobs(
        cast(Any, context),
        reconciler=cast(Any, None),
        records=cast(Any, None),
        replan=lambda: None,
        what_if=cast(Any, None),
    )


async def test_an_end_that_is_broken_off_goes_on(attachments: Attachments, job: Job) -> None:
    attachment, listener = await attachments.get(job), SlowListener()
    attachment.listener = cast(Any, listener)
    closing = asyncio.create_task(attachments.close(job.id))
    await listener.begun.wait()
    closing.cancel()
    await asyncio.gather(closing, return_exceptions=True)
    listener.may_end.set()
    await attachments.close(job.id)
    assert not attachment.connection._holds


async def test_the_next_attempt_leads_to_its_own_node(attachments: Attachments, job: Job) -> None:
    old = await attachments.get(job)
    new = await attachments.get(gone_on(job))
    assert new.connection.node.name == "new-0"
    assert not old.connection._holds


async def test_who_looks_at_an_old_attempt_does_not_break_the_next(
    attachments: Attachments, job: Job
) -> None:
    new = await attachments.get(gone_on(job))
    with pytest.raises(NodeUnreachable, match="not on old-0 any more"):
        await attachments.get(job)
    assert await attachments.get(gone_on(job)) is new


@pytest.mark.parametrize("state", [JobState.FINISHED, JobState.QUEUED])
async def test_a_look_at_the_log_of_a_job_that_left_its_node_leaves_nothing(
    attachments: Attachments, job: Job, tmp_path: Path, state: JobState
) -> None:
    (tmp_path / "stdout.log").write_text("all of it")
    jobs = front(attachments, tmp_path, replace(gone_on(job), state=state))
    reading = mock.AsyncMock(return_value=b"half")
    with mock.patch("skyport_core.jobs.attachment.Runner.log", reading):
        assert await jobs.log(job, "stdout", 0, None) == b"all of it"
    assert not attachments.has(job.id)


async def test_a_look_at_the_log_of_a_running_job_keeps_its_ties(
    attachments: Attachments, job: Job, tmp_path: Path
) -> None:
    reading = mock.AsyncMock(return_value=b"half")
    with mock.patch("skyport_core.jobs.attachment.Runner.log", reading):
        assert await front(attachments, tmp_path, job).log(job, "stdout", 0, None) == b"half"
    assert attachments.has(job.id)


async def test_a_log_that_was_read_while_its_job_ended_is_shown(
    attachments: Attachments, job: Job, tmp_path: Path
) -> None:
    jobs = front(attachments, tmp_path, replace(job, state=JobState.COLLECTING))
    reading = mock.AsyncMock(return_value=b"half")
    with mock.patch("skyport_core.jobs.attachment.Runner.log", reading):
        assert await jobs.log(job, "stdout", 0, None) == b"half"
