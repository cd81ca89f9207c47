"""Files of this machine that a job needs: which they are, and bringing them to the core."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import click

from ..client import CoreClient, CoreError, CoreUnavailable
from .bars import Bars
from .output import plain

AT_ONCE = 4
"""Files that are on their way at a time."""


def local_files(
    patterns: Iterable[str], places: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Path]:
    """Files by the names that they get in the job's working directory.

    A file keeps its last name. A folder brings all below it, under its own name; with a slash at
    its end, what is in it. Wildcards are filled in. Raises UsageError for what is not there, and
    for two files of one name.

    Parameters
    ----------
    places
        What messages about a pattern begin with, such as the line that names it.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        place = places.get(pattern, "")
        for name, path in _matching(pattern, place):
            known = found.setdefault(name, path)
            if not known.exists() or not known.samefile(path):
                message = f"{place}{known} and {path} would both be {name} in the job."
                raise click.UsageError(message)
    return found


async def upload_all(client: CoreClient, job_id: str, files: Mapping[str, Path]) -> None:
    """Upload the inputs of a job, some at a time. If one fails, or Ctrl-C, the job is cancelled."""
    if not files:
        return
    try:
        with Bars(f"Uploading {len(files)} files") as bars:
            turns = asyncio.Semaphore(AT_ONCE)

            async def one(name: str, path: Path) -> None:
                async with turns:
                    with bars.transfer(name) as progress:
                        await client.upload(job_id, name, path, progress=progress, wait=30)

            tasks = [asyncio.create_task(one(name, path)) for name, path in files.items()]
            try:
                await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
    except BaseException:
        await _give_up(client, job_id)
        raise


async def _give_up(client: CoreClient, job_id: str) -> None:
    """Cancel a job, which without its inputs would wait until it fails; its array too."""
    try:
        await client.delete_job(job_id, array=True, wait=5)
    except (CoreError, CoreUnavailable) as error:
        message = (
            f"Job {job_id} still waits for its inputs, which did not all arrive. It could not be "
            f"cancelled: {plain(str(error))}\nOnce the core answers: skyport cancel {job_id}"
        )
        click.echo(message, err=True)
    else:
        click.echo(f"Job {job_id} is cancelled: its inputs did not all arrive.", err=True)


def _matching(pattern: str, place: str) -> list[tuple[str, Path]]:
    paths = [Path(pattern)] if Path(pattern).exists() else map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207
    found = [pair for path in paths for pair in _below(path, contents=pattern.endswith("/"))]
    if not found:
        raise click.UsageError(f"{place}There is no file {pattern} to upload.")
    return found


def _below(path: Path, *, contents: bool) -> list[tuple[str, Path]]:
    if not path.is_dir():
        return [(path.name, path)]
    root = path if contents else path.resolve().parent
    start = path if contents else path.resolve()
    return [
        (each.relative_to(root).as_posix(), each)
        for each in sorted(start.rglob("*"))
        if each.is_file()
    ]
