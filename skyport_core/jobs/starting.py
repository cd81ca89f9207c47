"""STARTING: start the job, once, and wait until what it serves answers through the tunnel."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobKind, JobState
from ..ssh.errors import NodeUnreachable
from ..ssh.runner import RunnerStatus
from .probe import answers
from .running import exit_failure
from .step import Step

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext


async def start(job: Job, context: JobContext) -> Step:
    """Start the job and probe its port every ``probe_interval`` seconds until it answers.

    The runner starts a job at most once, however often it is asked, so that a core that was
    killed here may simply ask again.
    """
    attachment = await context.attachments.get(job)
    await attachment.open_forwards(job)
    await attachment.open_listener(job)
    status = await attachment.runner.start()
    started = _began(job, context.now(), status)
    attachment.watch()
    if job.listen is not None:
        wait = None if job.spec.kind is JobKind.SERVER else _patience(job, context)
        ended = await _until_it_answers(job, context, attachment, status, wait)
        if ended is not None and job.spec.kind is JobKind.SERVER:
            return await _ended(job, attachment, ended)
    walltime = dt.timedelta(seconds=job.spec.walltime or 0)
    return Step.to(
        JobState.RUNNING,
        EventDraft(f"Running on {job.node}", reason="running"),
        {"started_at": started, "expires_at": started + walltime if walltime else None},
    )


def _began(job: Job, now: dt.datetime, status: RunnerStatus) -> dt.datetime:
    """When the job began, as its node tells; it cannot be before this state was entered."""
    began = now - dt.timedelta(seconds=status.age or 0)
    return max(began, min(job.state_since, now))


def _patience(job: Job, context: JobContext) -> float:
    """Seconds that a batch job has left for its port; it may well do something else before."""
    passed = (context.now() - job.state_since).total_seconds()
    return max(0.0, job.spec.start_timeout - passed)


async def _until_it_answers(
    job: Job,
    context: JobContext,
    attachment: Attachment,
    status: RunnerStatus,
    wait: float | None,
) -> RunnerStatus | None:
    """None once the job's port answers, or ``wait`` seconds are over; how it ended if it did."""
    assert job.listen is not None  # noqa: S101 (typing)
    exited = asyncio.Event()
    attachment.on_exit(exited.set)
    if status.state != "running":
        exited.set()
    probing = asyncio.create_task(_probe(job, attachment, context.settings.probe_interval))
    until = None if wait is None else time.monotonic() + wait
    try:
        while True:
            leaving = asyncio.create_task(exited.wait())
            try:
                left = None if until is None else max(0.0, until - time.monotonic())
                await asyncio.wait(
                    {probing, leaving}, timeout=left, return_when=asyncio.FIRST_COMPLETED
                )
            finally:
                leaving.cancel()
            if exited.is_set():
                exited.clear()
                status = await attachment.runner.status()
                if status.state != "running":
                    return status
            elif probing.done():
                await probing
                return None
            elif until is not None and time.monotonic() >= until:
                return None
    finally:
        probing.cancel()
        attachment.on_exit(None)


async def _probe(job: Job, attachment: Attachment, interval: float) -> None:
    """Return once the server answers through the tunnel.

    Until somebody listens at all, only the node is asked, which costs a fraction of a request and
    leaves the processor to the server that starts.
    """
    assert job.listen is not None and job.spec.port is not None  # noqa: S101 (typing)
    while True:
        try:
            if not await attachment.runner.address_free(job.node_address, job.spec.port):
                break
        except NodeUnreachable:
            await attachment.connection.ready(float("inf"))
        await asyncio.sleep(interval)
    await answers(job.listen, job.spec.probe, interval)


async def _ended(job: Job, attachment: Attachment, status: RunnerStatus) -> Step:
    tail = await attachment.runner.tail()
    failure = exit_failure(job, status, tail)
    if failure is None:
        failure = Failure(
            "exited_early",
            "The server ended with status 0 before it answered",
            "The log below shows what it did; check the command.",
            tail,
        )
    return Step.fail(failure, {"exit_code": status.exit_code})
