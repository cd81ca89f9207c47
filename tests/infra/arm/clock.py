"""The time as the endpoint sees it: the real one, or one that tests move."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timezone


class Clock:
    """Real time."""

    def time(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait on this clock."""
        if seconds > 0:
            await asyncio.sleep(seconds)

    def stamp(self, ahead: float = 0.0) -> str:
        """The time as ARM writes it, ``ahead`` seconds from now."""
        return stamp(self.time() + ahead)


class ManualClock(Clock):
    """Time stands still until :meth:`advance`.

    Parameters
    ----------
    start
        Seconds since the epoch.
    """

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def time(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            return
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        """Let time pass; who slept until then wakes in the next turn of the loop."""
        self._now += seconds
        due = [each for each in self._sleepers if each[0] <= self._now]
        self._sleepers = [each for each in self._sleepers if each[0] > self._now]
        for _, future in due:
            if not future.done():
                future.set_result(None)


def stamp(seconds: float) -> str:
    """An epoch time as ARM writes it: "2025-03-04T05:06:07.1234567+00:00"."""
    moment = datetime.fromtimestamp(seconds, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f0+00:00")
