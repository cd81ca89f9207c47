"""What the phases of the lifecycle work with."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass
from pathlib import Path

from ..outputs import output_folder, write_private
from ..partitions.reconciler import PartitionReconciler
from ..settings import Settings
from ..sites import Sites
from ..store import Store
from .attachment import Attachments
from .totals import ResultTotals


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
    results: ResultTotals

    @staticmethod
    def now() -> dt.datetime:
        """The present time, aware, UTC."""
        return dt.datetime.now(dt.timezone.utc)

    def outputs(self, job_id: str) -> Path:
        """Folder at the core for the logs and results of a job."""
        return output_folder(self.home, job_id)

    @staticmethod
    async def write_file(path: Path, data: bytes) -> None:
        """Write a file of the core's own (0600, in a 0700 folder), whole or not at all."""
        await write_private(path, data)
