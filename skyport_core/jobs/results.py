"""The logs and results of a job, on their way home and to its next machine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..model import EventDraft, Eviction, Job
from ..outputs import INPUTS, MARK, OUTPUTS
from ..partitions.steps import WOKEN
from ..ssh.errors import NodeError
from ..ssh.files import total_size
from .environment import workdir_of

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

CLOCK_GRAIN = 0.1
"""Seconds by which a file may seem older than it is."""

SLOWEST = 2**20
"""Bytes per second that the way to a node is expected to carry at least."""


async def bring_home(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Copy the files that the job named, and its output, to its folder at the core.

    What keeps files from coming home for good is raised when the output is home all the same. A
    mark comes last, and only when all is there; see :func:`are_home`.
    """
    folder, trouble = context.outputs(job.id), None
    if job.spec.outputs:
        try:
            await attachment.runner.collect(
                job.spec.outputs,
                folder / OUTPUTS,
                workdir=workdir_of(job),
                limit=context.settings.max_output,
            )
        except NodeError as error:
            if not error.permanent:
                raise
            trouble = error
    for stream in ("stderr", "stdout"):
        await _bring_log(job, context, attachment, stream)
    if trouble is not None:
        raise trouble
    await context.write_file(folder / MARK, b"")


async def _bring_log(job: Job, context: JobContext, attachment: Attachment, stream: str) -> None:
    target, limit = context.outputs(job.id) / f"{stream}.log", context.settings.max_log
    size = await attachment.runner.fetch_log(stream, target, limit)
    if not size and stream == "stderr":
        await asyncio.to_thread(target.unlink, missing_ok=True)
    elif size > limit:
        message = f"{stream}.log has {size} bytes; only its beginning and its end were kept"
        hint = "Have the job write to a file instead, and name it as an output."
        if all(event.message != message for event in await context.store.events(job.id)):
            await context.store.add_event(job.id, EventDraft(message, "log_truncated", hint))


async def are_home(job: Job, context: JobContext) -> bool:
    """Whether all came home since the job entered its present state."""
    path = context.outputs(job.id) / MARK
    try:
        written = (await asyncio.to_thread(path.stat)).st_mtime
    except FileNotFoundError:
        return False
    return written >= job.state_since.timestamp() - CLOCK_GRAIN


async def restore(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Bring what an eviction saved to the job's next machine, if the job wants to move."""
    saved = await _saved(job, context)
    if saved is not None:
        await attachment.runner.restore(saved, workdir=workdir_of(job))


async def restore_time(job: Job, context: JobContext) -> float:
    """Seconds that :func:`restore` and the uploaded inputs may take on the slowest way."""
    folders = [context.outputs(job.id) / INPUTS] if job.spec.inputs else []
    saved = await _saved(job, context)
    folders += [] if saved is None else [saved]
    sizes = [await asyncio.to_thread(total_size, folder) for folder in folders]
    return sum(sizes) / SLOWEST


async def _saved(job: Job, context: JobContext) -> Path | None:
    """The folder that the job's machine is to get; None when there is nothing to bring."""
    saved = context.outputs(job.id) / OUTPUTS
    if job.spec.on_eviction is not Eviction.MOVE or job.attempt == 0 or not saved.is_dir():
        return None
    if job.partition is not None:
        record = await context.store.get_partition(job.partition)
        if record is not None and record.reason == WOKEN:
            return None  # its own disk has the files, and maybe newer ones
    return saved
