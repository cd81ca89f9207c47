"""How much of the core one owner may take: jobs, inputs, ids that were deleted before their use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ..confined import walk_files
from ..model import Job
from ..outputs import INPUTS, output_folder
from ..service import ServiceError
from ..store import Store

FRESH = 10.0
"""Seconds for which a count is believed while it refuses nothing."""

REST = 0.0002
"""Seconds for each job whose inputs were measured in which that is not done again."""

MAX_EARLY = 10_000
"""Unknown ids that one caller may delete in :data:`DAY`."""

DAY = 86400.0


class LiveJobs:
    """Counts the jobs of owners that have not ended.

    Parameters
    ----------
    most : int
        How many an owner may have; 0: any number.
    """

    def __init__(
        self, store: Store, most: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._most = most
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}
        self._coming: dict[str, int] = {}
        self._turn = asyncio.Lock()

    async def add(self, owner: str, count: int) -> None:
        """Count new jobs that are about to be stored; :meth:`settle` follows.

        Raises ServiceError 409 for too many.
        """
        if not self._most:
            return
        async with self._turn:
            coming = self._coming.get(owner, 0)
            if await self._count(owner, FRESH) + coming + count > self._most:
                await self._refuse(owner, count)
            self._coming[owner] = self._coming.get(owner, 0) + count

    async def _refuse(self, owner: str, count: int) -> None:
        """Raise ServiceError 409, unless some jobs have ended since they were counted."""
        there = await self._count(owner, 0.0) + self._coming.get(owner, 0)
        if there + count > self._most:
            message = (
                f"{owner} has {there} jobs that have not ended; with {count} more these would "
                f"be more than {self._most}, the most that one owner may have. Wait until "
                "some have ended, or cancel some."
            )
            raise ServiceError(message, code="too_many_jobs", status=409)

    def settle(self, owner: str, count: int, *, stored: bool) -> None:
        """What was added has been stored, or will not be."""
        left = self._coming.pop(owner, 0) - count
        if left > 0:
            self._coming[owner] = left
        if stored and owner in self._known:
            since, there = self._known[owner]
            self._known[owner] = since, there + count

    async def _count(self, owner: str, fresh: float) -> int:
        now = self._clock()
        known = self._known.get(owner)
        if known is None or now - known[0] > fresh or fresh <= 0:
            there = await self._store.count_live(owner)
            old = [each for each, (since, _) in self._known.items() if now - since > FRESH]
            for each in old:
                self._known.pop(each, None)
            known = self._known[owner] = now, there
        return known[1]


class _Measured(NamedTuple):
    """The inputs of an owner's jobs, and when they were measured.

    Attributes
    ----------
    files
        Bytes by file; jobs of an array may share one.
    held
        The files of each job.
    """

    since: float
    files: dict[int, int]
    held: dict[str, set[int]]


class InputTotals:
    """Counts the bytes of inputs that the jobs of an owner have at the core until they end."""

    def __init__(
        self, store: Store, home: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._known: dict[str, _Measured] = {}

    async def beside(self, job: Job, *, fresh: bool = False) -> int:
        """Bytes of the inputs of the owner's other jobs.

        With ``fresh`` they are measured anew, unless that was done just now for many jobs: who is
        at the limit must not have the core walk through thousands of folders for each try.
        """
        now = self._clock()
        known = self._known.get(job.owner)
        if known is None or now - known.since > (REST * len(known.held) if fresh else FRESH):
            old = [each for each, (since, *_) in self._known.items() if now - since > FRESH]
            for each in old:
                self._known.pop(each, None)
            ids = await self._store.live_with_inputs(job.owner)
            files, held = await asyncio.to_thread(self._measure, ids)
            known = self._known[job.owner] = _Measured(self._clock(), files, held)
        own = sum(known.files[each] for each in known.held.get(job.id, ()))
        return sum(known.files.values()) - own

    def add(self, job: Job, file: int, size: int) -> None:
        """Count an input that has arrived: its inode, which no other has, and its bytes."""
        if job.owner in self._known:
            known = self._known[job.owner]
            known.files[file] = size
            known.held.setdefault(job.id, set()).add(file)

    def _measure(self, ids: list[str]) -> tuple[dict[int, int], dict[str, set[int]]]:
        files: dict[int, int] = {}
        held = {}
        for each in ids:
            found = [status for _, status in walk_files(output_folder(self._home, each) / INPUTS)]
            files.update((status.st_ino, status.st_size) for status in found)
            held[each] = {status.st_ino for status in found}
        return files, held


class EarlyDeletions:
    """Counts the ids that callers delete before any job has them: each is remembered for good."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._counts: dict[str, int] = {}

    def over(self, owner: str) -> bool:
        """Whether an owner may use up no further id today."""
        if self._clock() - self._since > DAY:
            self._counts.clear()
            self._since = self._clock()
        return self._counts.get(owner, 0) >= MAX_EARLY

    def note(self, owner: str) -> None:
        """Count one."""
        self._counts[owner] = self._counts.get(owner, 0) + 1
