"""The inputs of a job: which are missing, and how they come to its node."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from ..confined import find_file
from ..model import Job, JobState
from ..outputs import INPUTS
from ..service import ServiceError
from ..ssh.errors import StagingRefused

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext


async def bring_inputs(job: Job, context: JobContext, attachment: Attachment, workdir: str) -> None:
    """Bring the uploaded files into the job's working directory on its node.

    Each appears whole or not at all, with its mode; done again, it is the same.

    Parameters
    ----------
    workdir
        As in the job's :class:`~skyport_core.ssh.runner.RunSpec`.

    Raises
    ------
    StagingFailed
        An input is gone from the core, or a folder of its name leads elsewhere on the node.
    """
    if not job.spec.inputs:
        return
    folder = context.outputs(job.id)
    missing = await asyncio.to_thread(missing_files, folder, job)
    if missing:
        raise StagingRefused(
            f"The input {missing[0]!r} is not at the core any more.",
            reason="input_missing",
            hint="Submit the job again and upload its inputs.",
        )
    await attachment.runner.restore(folder / INPUTS, workdir=workdir)


def missing_files(folder: Path, job: Job) -> tuple[str, ...]:
    """The job's inputs that are not in its ``folder`` at the core."""
    inputs = folder / INPUTS
    return tuple(name for name in job.spec.inputs if find_file(inputs, name) is None)


def is_waiting(job: Job) -> bool:
    """Whether the inputs of a job can still change."""
    return job.state is JobState.QUEUED and job.target is JobState.RUNNING


def check_waiting(job: Job) -> None:
    """Raise ServiceError 409 once the inputs of a job can change no more."""
    if not is_waiting(job):
        message = f"Job {job.id} is {job.state.value}: its inputs can change while it is QUEUED."
        raise ServiceError(message, code="not_queued", status=409)


def check_named(job: Job, path: str) -> None:
    """Raise ServiceError 404 for what is no input of a job."""
    if path not in job.spec.inputs:
        known = ", ".join(job.spec.inputs[:10]) or "none"
        more = f" and {len(job.spec.inputs) - 10} more" if len(job.spec.inputs) > 10 else ""
        message = f"{path[:200]!r} is no input of job {job.id}; its inputs are: {known}{more}"
        raise ServiceError(message, code="unknown_input", status=404, field="path")
