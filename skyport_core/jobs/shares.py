"""How much of the core one owner may take: jobs, inputs, ids that were deleted before their use."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from ..confined import walk_files
from ..model import Job
from ..outputs import INPUTS, output_folder
from ..service import ServiceError
from ..store import Store

FRESH = 10.0
"""Seconds for which a count is believed while it refuses nothing."""

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

    async def add(self, owner: str, count: int) -> None:
        """Count new jobs, before they are stored. Raises ServiceError 409 for too many."""
        if not self._most:
            return
        if await self._count(owner, FRESH) + count > self._most:
            there = await self._count(owner, 0.0)
            if there + count > self._most:
                message = (
                    f"{owner} has {there} jobs that have not ended; with {count} more these would "
                    f"be more than {self._most}, the most that one owner may have. Wait until "
                    "some have ended, or cancel some."
                )
                raise ServiceError(message, code="too_many_jobs", status=409)
        self.change(owner, count)

    def change(self, owner: str, count: int) -> None:
        """Correct what is known."""
        if owner in self._known:
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


class InputTotals:
    """Counts the bytes of inputs that the jobs of an owner have at the core until they end."""

    def __init__(
        self, store: Store, home: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._home = home
        self._clock = clock
        self._known: dict[str, tuple[float, dict[str, int]]] = {}

    async def beside(self, job: Job, *, fresh: bool = False) -> int:
        """Bytes of the inputs of the owner's other jobs."""
        now = self._clock()
        known = self._known.get(job.owner)
        if fresh or known is None or now - known[0] > FRESH:
            ids = await self._store.live_with_inputs(job.owner)
            known = now, await asyncio.to_thread(self._measure, ids)
            old = [each for each, (since, _) in self._known.items() if now - since > FRESH]
            for each in old:
                self._known.pop(each, None)
            self._known[job.owner] = known
        return sum(size for each, size in known[1].items() if each != job.id)

    def add(self, job: Job, size: int) -> None:
        """Count an input that has arrived."""
        if job.owner in self._known:
            sizes = self._known[job.owner][1]
            sizes[job.id] = sizes.get(job.id, 0) + size

    def _measure(self, ids: list[str]) -> dict[str, int]:
        return {
            each: sum(
                found.st_size for _, found in walk_files(output_folder(self._home, each) / INPUTS)
            )
            for each in ids
        }


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
