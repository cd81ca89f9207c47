"""What the phases of the lifecycle work with."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from ..partitions.reconciler import PartitionReconciler
from ..settings import Settings
from ..sites import Sites
from ..store import Store
from .attachment import Attachments


@dataclass(frozen=True)
class JobContext:
    """The parts of the core that a phase may use; ``home`` is the folder of the core's state."""

    store: Store
    sites: Sites
    attachments: Attachments
    partitions: PartitionReconciler
    settings: Settings
    home: Path
    log: logging.Logger

    @staticmethod
    def now() -> dt.datetime:
        """The present time, aware, UTC."""
        return dt.datetime.now(dt.timezone.utc)

    def outputs(self, job_id: str) -> Path:
        """Folder at the core for the logs and results of a job."""
        return self.home / "jobs" / job_id

    @staticmethod
    async def write_file(path: Path, data: bytes) -> None:
        """Write a file of the core's own (0600, in a 0700 folder), whole or not at all."""
        await asyncio.to_thread(_write_atomically, path, data)


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    part.replace(path)
