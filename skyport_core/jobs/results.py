"""The logs and results of a job, on their way home and to its next machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import Eviction, Job

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext


async def bring_home(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Copy the job's output and the files that it named to its folder at the core."""
    folder = context.outputs(job.id)
    for stream in ("stdout", "stderr"):
        data = await attachment.runner.log(stream)
        if data or stream == "stdout":
            await context.write_file(folder / f"{stream}.log", data)
    if job.spec.outputs:
        await attachment.runner.collect(
            job.spec.outputs,
            folder / "files",
            workdir=job.spec.workdir,
            limit=context.settings.max_output,
        )


async def restore(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Bring what an eviction saved to the job's next machine, if the job wants to move."""
    saved = context.outputs(job.id) / "files"
    if job.spec.on_eviction is Eviction.MOVE and job.attempt > 0 and saved.is_dir():
        await attachment.runner.restore(saved, workdir=job.spec.workdir)
