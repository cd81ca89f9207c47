"""The records of jobs that have ended: forgotten when asked for, or when they are old."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable

from ..api.services import ServiceError
from ..model import Job
from ..store import Conflict, Store

BATCH = 100
"""Old records that are looked up at once."""

PAUSE = 600.0
"""Seconds between two searches for old records."""


class Records:
    """Removes what is left of jobs at the core.

    Parameters
    ----------
    remove_files
        Removes the inputs, logs and results of a job; nothing happens if there are none.
    keep
        Seconds for which a record is kept; 0: for ever.
    """

    def __init__(
        self,
        store: Store,
        remove_files: Callable[[str], Awaitable[None]],
        keep: float,
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._remove_files = remove_files
        self._keep = keep
        self.log = log

    async def remove(self, job: Job) -> None:
        """Forget a job with its files. Raises ServiceError 409, or Conflict if it changed."""
        if not job.state.final:
            message = f"Job {job.id} is {job.state.value}; cancel it before its record is deleted."
            raise ServiceError(message, code="wrong_state", status=409)
        if job.cleanup_pending:
            message = (
                f"Job {job.id} left something on {job.node}, which is removed as soon as that "
                "answers; its record can be deleted then."
            )
            raise ServiceError(message, code="wrong_state", status=409)
        # The files first: a record whose files are gone is found again, files without one are not.
        await self._remove_files(job.id)
        await self._store.remove_job(job)

    async def run(self) -> None:
        """Forget old jobs, until cancelled."""
        while self._keep > 0:
            try:
                await self.remove_old()
            except Exception:
                self.log.exception("Removing old records failed; trying again later")
            await asyncio.sleep(PAUSE)

    async def remove_old(self, now: dt.datetime | None = None) -> int:
        """Forget the jobs whose time is over; how many these were."""
        before = (now or dt.datetime.now(dt.timezone.utc)) - dt.timedelta(seconds=self._keep)
        count = 0
        while jobs := await self._store.outdated_jobs(before, BATCH):
            for job in jobs:
                try:
                    await self.remove(job)
                    count += 1
                except Conflict:
                    self.log.debug("Job %s changed while its record was to go", job.id)
        if count:
            self.log.info("Removed the records of %d old jobs", count)
        return count
