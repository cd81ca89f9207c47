"""The records of jobs that have ended: forgotten when asked for, or when they are old."""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..model import Job
from ..outputs import jobs_with_files
from ..service import ServiceError
from ..store import Conflict, StillNeeded, Store

BATCH = 100
"""Old records that are looked up at once."""

PAUSE = 600.0
"""Seconds between two searches for old records."""


class Records:
    """Removes what is left of jobs at the core.

    Parameters
    ----------
    home
        Folder of the core's state.
    remove_files
        Removes the inputs, logs and results of a job; nothing happens if there are none.
    keep
        Seconds for which a record is kept; 0: for ever.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        remove_files: Callable[[str], Awaitable[None]],
        keep: float,
        log: logging.Logger,
    ) -> None:
        self._store = store
        self._home = home
        self._swept = False
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
        try:
            await self._store.remove_job(job)
        except StillNeeded as error:
            raise ServiceError(str(error), code="still_needed", status=409) from None
        # The record first: else a job that lives on because it changed has lost its results. What
        # is left when the core dies in between is found by its id, which is used up for good.
        try:
            await self._remove_files(job.id)
        except OSError as error:
            self._swept = False
            self.log.warning("The files of job %s cannot be removed yet: %s", job.id, error)

    async def run(self) -> None:
        """Forget old jobs, and remove files of forgotten ones, until cancelled."""
        while True:
            try:
                await self.sweep()
                if self._keep > 0:
                    await self.remove_old()
            except Exception:
                self.log.exception("Removing old records failed; trying again later")
            await asyncio.sleep(PAUSE)

    async def sweep(self) -> None:
        """Remove the files of jobs whose records are gone already."""
        if self._swept:
            return
        kept = await asyncio.to_thread(jobs_with_files, self._home)
        for job_id in await self._store.forgotten_jobs(kept):
            await self._remove_files(job_id)
        self._swept = True

    async def remove_old(self, now: dt.datetime | None = None) -> int:
        """Forget the jobs whose time is over; how many these were."""
        before = (now or dt.datetime.now(dt.timezone.utc)) - dt.timedelta(seconds=self._keep)
        count, last = 0, None
        while jobs := await self._store.outdated_jobs(before, BATCH, after=last):
            last = jobs[-1]
            for job in jobs:
                try:
                    await self.remove(job)
                    count += 1
                except (Conflict, ServiceError) as error:
                    self.log.debug("The record of job %s stays: %s", job.id, error)
        if count:
            self.log.info("Removed the records of %d old jobs", count)
        return count
