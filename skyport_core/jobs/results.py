"""The logs and results of a job, on their way home and to its next machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..model import Eviction, Job

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

CLOCK_GRAIN = 0.1
"""Seconds by which a file may seem older than it is."""


async def bring_home(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Copy the files that the job named, and its output, to its folder at the core.

    ``stdout.log`` comes last and always, so it tells that all is there; see :func:`are_home`.
    """
    folder = context.outputs(job.id)
    if job.spec.outputs:
        await attachment.runner.collect(
            job.spec.outputs,
            folder / "files",
            workdir=job.spec.workdir,
            limit=context.settings.max_output,
        )
    for stream in ("stderr", "stdout"):
        data = await attachment.runner.log(stream)
        if data or stream == "stdout":
            await context.write_file(folder / f"{stream}.log", data)


async def are_home(job: Job, context: JobContext) -> bool:
    """Whether all came home since the job entered its present state."""
    path = context.outputs(job.id) / "stdout.log"
    try:
        written = (await asyncio.to_thread(path.stat)).st_mtime
    except FileNotFoundError:
        return False
    return written >= job.state_since.timestamp() - CLOCK_GRAIN


async def restore(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Bring what an eviction saved to the job's next machine, if the job wants to move."""
    saved = context.outputs(job.id) / "files"
    if job.spec.on_eviction is Eviction.MOVE and job.attempt > 0 and saved.is_dir():
        await attachment.runner.restore(saved, workdir=job.spec.workdir)
