"""The logs and results of a job, on their way home and to its next machine."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from ..confined import walk_files
from ..model import EventDraft, Eviction, Job
from ..outputs import INPUTS, MARK, OUTPUTS
from ..partitions.steps import WOKEN
from ..ssh.errors import NodeError, NodeUnreachable, StagingFailed
from ..ssh.files import total_size
from .environment import workdir_of
from .streams import streams_of
from .telling import listed, tell_once

if TYPE_CHECKING:
    from .attachment import Attachment
    from .context import JobContext

CLOCK_GRAIN = 0.1
"""Seconds by which a file may seem older than it is."""

LEAST_LOG = 2**16
"""Bytes of a log that come home although its owner has no room left."""

SLOWEST = 2**20
"""Bytes per second that the way to a node is expected to carry at least."""


async def bring_home(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Copy the files that the job named, and its output, to its folder at the core.

    What keeps files from coming home for good is raised when the output is home all the same. A
    mark comes last, and only when all is there; see :func:`are_home`.
    """
    folder, trouble = context.outputs(job.id), None
    brought: list[PurePosixPath] = []
    if job.spec.outputs:
        try:
            brought = await _bring_outputs(job, context, attachment)
        except NodeError as error:
            if not error.permanent:
                raise
            trouble = error
    await _bring_streams(job, context, attachment, brought)
    for stream in ("stderr", "stdout"):
        await _bring_log(job, context, attachment, stream)
    if trouble is not None:
        raise trouble
    await context.write_file(folder / MARK, b"")
    await context.results.came(job.owner, job.id)


async def _bring_outputs(
    job: Job, context: JobContext, attachment: Attachment
) -> list[PurePosixPath]:
    """Copy the named files home; an event says which are not there, if the job ends by that.

    What its owner has no room for stays behind, which changes nothing in how the job ended.
    """
    most = context.settings.max_output
    limit = await context.results.left(job.owner, most)
    try:
        found = await attachment.runner.collect(
            job.spec.outputs,
            context.outputs(job.id) / OUTPUTS,
            workdir=workdir_of(job),
            limit=limit,
            most=context.settings.max_output_files,
        )
    except StagingFailed as error:
        if limit == most or error.reason != "outputs_too_large":
            raise
        await tell_once(job, context, _no_room(job, context))
        return []
    if found.missing and job.target.final and job.started_at is not None:
        message = f"No file was found for these outputs: {listed(found.missing)}"
        hint = f"Outputs are below the working directory, {workdir_of(job) or 'the home'}."
        await tell_once(job, context, EventDraft(message, "outputs_missing", hint))
    return found.files


def _no_room(job: Job, context: JobContext) -> EventDraft:
    total = context.settings.max_outputs_total / 2**20
    return EventDraft(
        f"The results stayed behind: the results of all jobs of {job.owner} may have {total:g} MiB "
        "together at the core",
        "outputs_left",
        "Delete the records of jobs whose results are not needed any more.",
    )


async def _bring_streams(
    job: Job, context: JobContext, attachment: Attachment, brought: Sequence[PurePosixPath]
) -> None:
    """Copy the files home that the job's streams went to, unless they came as outputs.

    What stands in the way of that is told and no failure: the log has the same bytes.
    """
    settings, streams = context.settings, streams_of(job)
    limit = await context.results.left(job.owner, min(settings.max_log, settings.max_output))
    for name in (streams.stdout, streams.stderr):
        if not name:
            continue
        path = await _below_workdir(job, attachment, name)
        if path is None or path in brought:
            continue
        try:
            await attachment.runner.collect(
                [glob.escape(str(path))],
                context.outputs(job.id) / OUTPUTS,
                workdir=workdir_of(job),
                limit=limit,
            )
        except NodeError as error:
            if not error.permanent:
                raise
            message = f"The file {listed((name,))} did not come home as a result; see the log"
            await tell_once(job, context, EventDraft(message, "output_left", error.message))


async def _below_workdir(job: Job, attachment: Attachment, name: str) -> PurePosixPath | None:
    """A stream's file relative to the working directory; None if it is not below that."""
    path = PurePosixPath(name)
    if path.is_absolute():
        folder = await attachment.runner.path_of(workdir_of(job))
        if not path.is_relative_to(folder):
            return None
        path = path.relative_to(folder)
    return None if ".." in path.parts or not path.parts else path


async def tell_lost(job: Job, context: JobContext, attachment: Attachment) -> None:
    """Say what goes with a script's own folder because it was not named as an output."""
    if not job.scripted or job.spec.workdir or job.started_at is None:
        return
    folder = context.outputs(job.id) / OUTPUTS
    home = await asyncio.to_thread(lambda: [name for name, _ in walk_files(folder)])
    try:
        lost = await attachment.runner.others({*home, *job.spec.inputs}, workdir=workdir_of(job))
    except NodeUnreachable:
        raise
    except NodeError as error:
        context.log.info("Job %s: nobody knows what goes with its folder: %s", job.id, error)
        return
    if lost.names:
        count = len(lost.names)
        what = f"{count if lost.whole else f'more than {count}'} file{'s' if count > 1 else ''}"
        message = f"{what} in the script's own folder went with it: {listed(lost.names)}"
        hint = "Name what is to be kept as outputs, or give the script a workdir."
        await tell_once(job, context, EventDraft(message, "files_lost", hint))


async def _bring_log(job: Job, context: JobContext, attachment: Attachment, stream: str) -> None:
    target = context.outputs(job.id) / f"{stream}.log"
    limit = await context.results.left(job.owner, context.settings.max_log)
    limit = max(limit, min(LEAST_LOG, context.settings.max_log))
    size = await attachment.runner.fetch_log(stream, target, limit)
    if not size and stream == "stderr":
        await asyncio.to_thread(target.unlink, missing_ok=True)
    elif size > limit:
        message = f"{stream}.log has {size} bytes; only its beginning and its end were kept"
        hint = "Have the job write to a file instead, and name it as an output."
        await tell_once(job, context, EventDraft(message, "log_truncated", hint))


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
