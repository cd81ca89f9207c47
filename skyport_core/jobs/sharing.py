"""One input for all jobs of an array: the same file under each of their folders.

Who asks for an array uploads a file once, to the id that the array shares with its first job. The
file is linked below every job's own folder, so that it takes its room once, and each job lets go
of it on its own. What is in the midst when the core dies is completed by the upload that the
client then repeats: the first job gets the file last, and waits for it until then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

from ..confined import find_file, make_private, move_in, remove_file
from ..model import Job
from ..outputs import INPUTS
from ..store import Store

_Result = TypeVar("_Result")


async def sharers(store: Store, job: Job) -> list[str]:
    """Ids of the other jobs that an upload to this one is for, among those that still wait."""
    if job.array_id != job.id:
        return []
    return [each for each in await store.waiting_tasks(job.id) if each != job.id]


def link_input(draft: Path, folders: Iterable[Path], path: str, link: Path) -> list[Path]:
    """Put a file below the folders of jobs; those in which it is now.

    A job that has got a file of its own under this name keeps it; what it shares is replaced.

    Parameters
    ----------
    draft
        The file.
    folders
        The jobs' folders at the core.
    path
        The input's name.
    link
        A name beside ``draft`` that is free to be used meanwhile.
    """
    linked = []
    make_private(link.parent)
    for folder in folders:
        there = find_file(folder / INPUTS, path)
        if there is not None and there.st_nlink == 1:
            continue
        link.unlink(missing_ok=True)
        os.link(draft, link)
        move_in(link, folder / INPUTS, path)
        linked.append(folder)
    # Moved onto a link to the same file, it stays.
    link.unlink(missing_ok=True)
    return linked


def unlink_input(folders: Iterable[Path], path: str) -> None:
    """Take an input away again from jobs that ended meanwhile."""
    for folder in folders:
        remove_file(folder / INPUTS, path)
        for each in (folder / INPUTS, folder):
            try:
                each.rmdir()
            except OSError:
                break  # something else is there


async def to_end(work: Callable[..., _Result], *arguments: Any) -> _Result:
    """Do blocking work in a thread, and let no cancellation leave it behind half done."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise
