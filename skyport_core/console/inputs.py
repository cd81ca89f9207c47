"""Files of this machine that a job needs: which they are, and bringing them to the core."""

from __future__ import annotations

import asyncio
import glob
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from ..client import CoreClient
from .bars import Bars

AT_ONCE = 4
"""Files that are on their way at a time."""


def local_files(patterns: Iterable[str]) -> dict[str, Path]:
    """Files by the names that they get in the job's working directory.

    A file keeps its last name. A folder brings all below it, under its own name; with a slash at
    its end, what is in it. Wildcards are filled in. Raises UsageError for what is not there, and
    for two files of one name.
    """
    found: dict[str, Path] = {}
    for pattern in patterns:
        for name, path in _matching(pattern):
            known = found.setdefault(name, path)
            if not known.exists() or not known.samefile(path):
                raise click.UsageError(f"{known} and {path} would both be {name} in the job.")
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
        # Without its inputs it would wait until it fails; its array too.
        await client.delete_job(job_id, array=True, wait=5)
        click.echo(f"Job {job_id} is cancelled: its inputs did not all arrive.", err=True)
        raise


def _matching(pattern: str) -> list[tuple[str, Path]]:
    paths = [Path(pattern)] if Path(pattern).exists() else map(Path, sorted(glob.glob(pattern)))  # noqa: PTH207
    found = [pair for path in paths for pair in _below(path, contents=pattern.endswith("/"))]
    if not found:
        raise click.UsageError(f"There is no file {pattern} to upload.")
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
