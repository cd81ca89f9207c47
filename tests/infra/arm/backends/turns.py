"""Work on machines: for each machine one thing after another, and never half of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from typing import Any, TypeVar

from tests.infra.arm.backends import Machine

T = TypeVar("T")


class Turns:
    """Runs work to its end, also when who asked for it gave up meanwhile."""

    def __init__(self) -> None:
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._tasks: set[asyncio.Task[Any]] = set()

    async def take(self, machine: Machine, work: Coroutine[Any, Any, T]) -> T:
        """Wait for the machine's turn, do the work, and return its result."""

        async def alone() -> T:
            async with self._locks[machine.id.lower()]:
                return await work

        task = asyncio.get_running_loop().create_task(alone())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def over(self) -> None:
        """Wait until no work is left."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)
