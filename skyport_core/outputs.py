"""What jobs leave at the core: their logs and results, a folder each."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from .confined import open_draft

INPUTS, OUTPUTS, UPLOADS = "inputs", "files", "uploads"
"""Folders in a job's: what was uploaded for it, what it brought home, what is on its way in."""

MARK = "complete"
"""Name of the empty file which tells that everything of a job came home."""


_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def output_folder(home: Path, job_id: str) -> Path:
    """Where the logs and results of a job are kept, below the core's ``home``."""
    return home / "jobs" / job_id


def jobs_with_files(home: Path) -> list[str]:
    """Ids of the jobs that have a folder below the core's ``home``."""
    folder = output_folder(home, "")
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return [name for name in names if _ID.fullmatch(name)]


async def write_private(path: Path, data: bytes) -> None:
    """Write a file of the core's own (0600, in a 0700 folder), whole or not at all."""
    await asyncio.to_thread(_write_atomically, path, data)


def _write_atomically(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + ".part")
    with open_draft(part) as file:
        file.write(data)
    part.replace(path)
