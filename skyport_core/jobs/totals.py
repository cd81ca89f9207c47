"""How many bytes the jobs on record of one owner take of the core: submissions, and results."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..confined import walk_files
from ..outputs import INPUTS, UPLOADS, output_folder
from ..service import ServiceError
from ..store import Store
from ..wire import JobRequest

AGAIN = 30.0
"""Seconds after which an owner who is at the limit is measured anew."""

KEPT = 1000
"""Owners whose totals are remembered."""

EACH = 1024
"""Bytes that a job takes at least."""


class Totals:
    """Adds up bytes of owners: measured once, and anew where an owner seems to have too many.

    Parameters
    ----------
    most : int
        Bytes that an owner may have; 0: any number.
    measure : callable
        What an owner has now.
    """

    def __init__(
        self,
        most: int,
        measure: Callable[[str], Awaitable[int]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.most = most
        self._measure = measure
        self._clock = clock
        self._known: dict[str, tuple[float, int]] = {}
        self._turn = asyncio.Lock()

    async def left(self, owner: str, wanted: int) -> int:
        """Bytes that an owner may have more, who wants to have ``wanted``; below 0: too many."""
        async with self._turn:
            known = self._known.get(owner)
            now = self._clock()
            if known is None or (known[1] + wanted > self.most and now - known[0] > AGAIN):
                there = await self._measure(owner)
                if len(self._known) >= KEPT:
                    self._known.clear()
                known = self._known[owner] = self._clock(), there
            return self.most - known[1]

    def add(self, owner: str, size: int) -> None:
        """Count bytes that an owner has now."""
        if owner in self._known:
            since, there = self._known[owner]
            self._known[owner] = since, there + size


class StoredTotals:
    """Counts what is stored of submissions: specifications, scripts, and secrets.

    Parameters
    ----------
    most : int
        Bytes that all jobs on record of an owner may take; 0: any number.
    """

    def __init__(self, store: Store, most: int) -> None:
        self._totals = Totals(most, lambda owner: store.stored_bytes(owner))

    async def add(self, owner: str, size: int) -> None:
        """Count what is about to be stored. Raises ServiceError 409 if that is too much."""
        most = self._totals.most
        if not most:
            return
        if await self._totals.left(owner, size) < size:
            message = (
                f"The jobs on record of {owner} may take {most / 2**20:g} MiB in the core's "
                "database, with their scripts, variables and files, and would take more with this "
                "one. Delete the records of jobs that have ended."
            )
            raise ServiceError(message, code="too_much_stored", status=409)
        self._totals.add(owner, size)


class ResultTotals:
    """Counts what came home of an owner's jobs: results and logs.

    Parameters
    ----------
    most : int
        Bytes that all jobs on record of an owner may have at the core; 0: any number.
    """

    def __init__(self, store: Store, home: Path, most: int) -> None:
        self._store = store
        self._home = home
        self._totals = Totals(most, self._measure)

    async def left(self, owner: str, wanted: int) -> int:
        """Bytes that may come home, of the ``wanted``."""
        if not self._totals.most:
            return wanted
        return max(0, min(wanted, await self._totals.left(owner, wanted)))

    async def came(self, owner: str, job_id: str) -> None:
        """Count all that came home of a job."""
        self._totals.add(owner, await asyncio.to_thread(self._size, job_id))

    async def _measure(self, owner: str) -> int:
        ids = await self._store.ids_of(owner)
        return await asyncio.to_thread(lambda: sum(map(self._size, ids)))

    def _size(self, job_id: str) -> int:
        folder = output_folder(self._home, job_id)
        inputs = (f"{INPUTS}/", f"{UPLOADS}/")
        found = walk_files(folder)
        return sum(each.st_size for name, each in found if not name.startswith(inputs))


def size_of(request: JobRequest) -> int:
    """About as many bytes as a submission takes in the database, for each of its jobs."""
    tables = (request.variables, request.environment, request.environment_templates)
    texts = [*request.command, *request.arguments, *request.outputs, *request.inputs]
    texts += [text for table in tables for text in table.values()]
    files = sum(len(each.content) for each in request.files)
    return EACH + sum(map(len, texts)) + files
