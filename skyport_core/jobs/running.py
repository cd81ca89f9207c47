"""RUNNING: keep the tunnels, and notice the end."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..model import EventDraft, Failure, Job, JobState
from ..ssh.errors import NodeError, NodeUnreachable
from ..ssh.runner import RunnerStatus
from .step import Step
from .telling import tell_once
from .trouble import start_failure

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

WALLTIME_GRACE = 30.0
"""Seconds after the end of its walltime that a node may take to end a job, before the core does."""


async def watch(job: Job, context: JobContext) -> Step:
    """Make sure that the tunnels stand, and look whether the job still runs.

    Called when the job's node reports an exit, when its connection is back, and after a restart of
    the core, and some time after its walltime; between these nothing is polled.
    """
    attachment = await context.attachments.get(job)
    await attachment.open_listener(job)
    attachment.watch()
    lost_for = attachment.lost_for()
    if lost_for is not None:
        if job.partition is not None:
            # The site may know more than the silence says.
            context.partitions.wake(job.partition)
        return _lost(job, context, lost_for)
    try:
        await attachment.open_forwards(job)
        status = await attachment.runner.status()
    except NodeUnreachable:
        return Step(retry=True)
    except NodeError:
        over = _seconds_over(job, context)
        if over is None or over < 0:
            raise
        return Step.fail(_walltime_over(job, ""))
    if status.state == "running":
        return await _keep_to_walltime(job, context, attachment)
    tail = await attachment.runner.tail()
    failure = exit_failure(job, status, tail)
    if failure is not None:
        return Step.fail(failure, {"exit_code": status.exit_code})
    event = EventDraft("The job has ended; bringing the results home", reason="exit")
    return Step.end(JobState.FINISHED, event, {"exit_code": status.exit_code})


async def _keep_to_walltime(job: Job, context: JobContext, attachment: Attachment) -> Step:
    """Have the node end the job in time, and end it here if the node does not.

    What keeps to the walltime on the node is the user's own process, and may be gone.
    """
    over = _seconds_over(job, context)
    step, told = Step.wait(), job.spec.walltime == job.walltime_told
    if job.spec.walltime is not None and not told:
        step = await _tell_walltime(job, context, attachment)
    if over is None:
        return step
    if over >= 0 and (told or step.retry):
        tail = ""
        # A log that cannot be read is no reason to go on.
        with suppress(NodeError):
            tail = await attachment.runner.tail()
        return Step.fail(_walltime_over(job, tail))
    return step if step.retry else replace(step, again=max(-over, 0.0))


def _seconds_over(job: Job, context: JobContext) -> float | None:
    """Seconds since the node should have ended the job at the latest; None: its time has no end."""
    if job.expires_at is None:
        return None
    return (context.now() - job.expires_at).total_seconds() - WALLTIME_GRACE


def _walltime_over(job: Job, tail: str) -> Failure:
    return Failure(
        "walltime",
        f"The walltime of {job.walltime_told or job.spec.walltime} s is over",
        "Ask for a longer walltime next time.",
        tail,
    )


async def _tell_walltime(job: Job, context: JobContext, attachment: Attachment) -> Step:
    """Have the node keep to a walltime that was changed after the job was staged."""
    walltime = job.spec.walltime or 0
    age = (context.now() - job.started_at).total_seconds() if job.started_at else 0.0
    try:
        await attachment.runner.set_walltime(walltime, age=age)
    except NodeUnreachable:
        raise
    except NodeError as error:
        message = f"{job.node} did not take the new walltime of {walltime} s; trying again"
        hint = f"Until it does, the job may end after its old one. {error.message}"
        await tell_once(job, context, EventDraft(message, "walltime_untold", hint))
        return Step(retry=True)
    event = EventDraft(f"{job.node} lets the job run {walltime} s", reason="walltime_told")
    return Step({"walltime_told": walltime}, event if job.walltime_told is not None else None)


def _lost(job: Job, context: JobContext, lost_for: float) -> Step:
    limit = context.settings.node_lost_timeout
    if lost_for < limit:
        return Step.wait(limit - lost_for)
    return Step.fail(
        Failure(
            "node_lost",
            f"Node {job.node} has not answered for {limit:g} s",
            "Start again: another node is chosen while this one is away. What the job left "
            "there is removed when it is back.",
        ),
    )


def exit_failure(job: Job, status: RunnerStatus, tail: str) -> Failure | None:
    """The failure that an ended job's status means; None for a good end."""
    what = "The server" if job.spec.kind == "server" else "The job"
    if status.trouble is not None:
        return start_failure(job, status.trouble, tail)
    if status.timed_out:
        return _walltime_over(job, tail)
    if status.state in ("lost", "absent", "staged"):
        return Failure(
            "job_lost",
            f"{what} is gone from {job.node} without an exit status: the node was restarted or "
            "the job was killed from outside",
            "Start again.",
            tail,
        )
    if status.exit_code == 0:
        return None
    if status.exit_code == 127 and not job.scripted:
        return Failure(
            "command_not_found",
            f"{job.spec.command[0]!r} was not found {_where(job)} (exit status 127)",
            "Ask the admin to install it there, or set its full path as the command.",
            tail,
        )
    if status.exit_code is not None and status.exit_code > 128:
        return Failure(
            "killed",
            f"{what} was ended by signal {status.exit_code - 128} on {job.node}",
            "Signal 9 often means that the node ran out of memory: ask for more.",
            tail,
        )
    return Failure(
        "exit",
        f"{what} ended with exit status {status.exit_code} on {job.node}",
        "The log below shows why.",
        tail,
    )


def _where(job: Job) -> str:
    return f"in the image {job.spec.container}" if job.spec.container else f"on {job.node}"
