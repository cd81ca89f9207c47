"""Cancelling jobs for certain: noted on disk first, retried until the core has accepted.

JupyterHub forgets a server once its ``stop()`` returned or raised, and asks only once. So a job
that is to end is noted as an empty file named by its id before the core is asked, and the note is
removed when the core has accepted. Notes that a hub left behind are taken up by the next one.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from pathlib import Path

from skyport_core.client import CoreClient, CoreError, CoreUnavailable

FIRST_DELAY = 0.2
LONGEST_DELAY = 30.0


class Cancels:
    """The jobs that the core has still to be told to cancel.

    Parameters
    ----------
    client
        The core.
    folder
        Where the notes are kept; made when needed, for its owner only.
    log
        The hub's log.
    """

    def __init__(self, client: CoreClient, folder: Path, log: logging.Logger) -> None:
        self._client = client
        self._folder = folder
        self._log = log
        self._tasks: dict[str, asyncio.Task[bool]] = {}
        self._resumed = False

    @property
    def pending(self) -> frozenset[str]:
        """Ids of the jobs whose cancellation the core has not accepted yet."""
        return frozenset(self._tasks)

    def add(self, job_id: str) -> asyncio.Task[bool]:
        """Note a job and begin to cancel it; cancelling twice does no harm.

        Returns
        -------
        asyncio.Task
            Ends once the core accepted: True, or False when it refused for good.
        """
        task = self._tasks.get(job_id)
        if task is None:
            self._note(job_id)
            task = asyncio.get_running_loop().create_task(self._deliver(job_id))
            self._tasks[job_id] = task
            task.add_done_callback(lambda _: self._tasks.pop(job_id, None))
        return task

    async def cancel(self, job_id: str, *, wait: float) -> bool:
        """Cancel a job and wait up to ``wait`` seconds until the core has accepted.

        Returns False when that takes longer; the attempts then go on by themselves.
        """
        task = self.add(job_id)
        await asyncio.wait({task}, timeout=wait)
        return task.done() and not task.cancelled() and task.result()

    def resume(self) -> None:
        """Take up what an earlier hub could not deliver; the first call does it."""
        if self._resumed:
            return
        self._resumed = True
        if not self._folder.is_dir():
            return
        for note in self._folder.iterdir():
            if _is_job_id(note.name):
                self._log.info("Cancelling job %s, noted before the hub restarted", note.name)
                self.add(note.name)

    async def _deliver(self, job_id: str) -> bool:
        delay = FIRST_DELAY
        accepted = True
        while True:
            try:
                await self._client.delete_job(job_id)
                break
            except CoreUnavailable as error:
                self._log_outage(job_id, delay, error)
            except CoreError as error:
                if error.status < 500:
                    self._log.error("The core refuses to cancel job %s: %s", job_id, error)
                    accepted = False
                    break
                self._log.warning("Cancelling job %s failed, trying again: %s", job_id, error)
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))  # noqa: S311 (no secret)
            delay = min(delay * 2, LONGEST_DELAY)
        (self._folder / job_id).unlink(missing_ok=True)
        return accepted

    def _log_outage(self, job_id: str, delay: float, error: Exception) -> None:
        level = logging.WARNING if delay == FIRST_DELAY else logging.DEBUG
        self._log.log(
            level,
            "Job %s will be cancelled as soon as the core answers (noted in %s): %s",
            job_id,
            self._folder,
            error,
        )

    def _note(self, job_id: str) -> None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self._folder / job_id, os.O_WRONLY | os.O_CREAT, 0o600)
            os.close(descriptor)
        except OSError as error:
            self._log.error(
                "Cannot note that job %s is to be cancelled: %s. It is tried until this hub ends; "
                "make c.SkyPortSpawner.pending_cancels_path a folder that the hub can write.",
                job_id,
                error,
            )


def _is_job_id(text: str) -> bool:
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
