"""Azure's limits on requests, kept to by waiting one's turn instead of being refused.

The Resource Manager counts what each identity asks of a subscription, in a bucket of calls that
fills up again with time. It goes on counting what it refuses, so that many machines asked for at
once would be held up by each other's repeated requests.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass


@dataclass(frozen=True)
class Limit:
    """So many calls at once, and so many a second after that."""

    burst: float
    per_second: float


# Less than learn.microsoft.com/azure/azure-resource-manager/management/
# request-limits-and-throttling names; the rate of Compute, for changes, is lower: 500 a minute.
READS = Limit(200, 22)
WRITES = Limit(150, 8)
DELETES = Limit(150, 8)

RESERVE = 60.0
"""Calls that those who only look after one machine leave to looks at all."""


class Budget:
    """The calls that may be made under a limit."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit
        self._left = limit.burst
        self._seen: float | None = None
        self._first = asyncio.Lock()
        self._second = asyncio.Lock()

    async def turn(self, reserve: float = 0.0) -> None:
        """Wait until a call may be made, in the order of asking, and count it.

        Those who leave a ``reserve`` give way to those who do not.
        """
        async with self._second if reserve else self._first:
            # No event tells it: time does, and others may take what it has brought.
            while (lacking := 1.0 + reserve - self._refill()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(lacking / self._limit.per_second)
            self._left -= 1.0

    def _refill(self) -> float:
        now = asyncio.get_running_loop().time()
        passed = now - self._seen if self._seen is not None else 0.0
        self._left = min(self._limit.burst, self._left + passed * self._limit.per_second)
        self._seen = now
        return self._left
