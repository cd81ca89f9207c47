"""Looking at something far away again and again, with patience."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..gate import GateError, Throttled
from ..timing import in_time


class Refresher:
    """Calls ``look``: at once, then every ``interval``, and sooner when it is woken.

    A failed look is repeated after a pause that doubles, up to the interval. Intervals and pauses
    vary by a tenth, so that several refreshers spread.

    Parameters
    ----------
    name
        For the log: "the sizes of westeurope".
    look
        Raises GateError for what may pass.
    interval
        Seconds between looks that went well.
    pause
        Seconds after the first look that failed.
    least
        Seconds between two looks however often it is woken.
    """

    def __init__(
        self,
        name: str,
        look: Callable[[], Awaitable[None]],
        log: logging.Logger | logging.LoggerAdapter[Any],
        *,
        interval: float,
        pause: float = 10.0,
        least: float = 5.0,
    ) -> None:
        self._name = name
        self._look = look
        self._log = log
        self._interval = interval
        self._pause = min(pause, interval)
        self._least = min(least, interval)
        self._woken = asyncio.Event()
        self._looked = asyncio.Event()
        self._last = -math.inf
        self._failures = 0
        self._task: asyncio.Task[None] | None = None
        self.error: GateError | None = None
        """What went wrong at the last look; None if nothing."""

    def start(self, age: float = math.inf) -> None:
        """Begin. What is known already, since ``age`` seconds, is looked at when it is due."""
        if self._task is None:
            due = max(0.0, self._interval - max(age, 0.0))
            self._task = asyncio.create_task(self._run(due), name=f"refresh {self._name}")

    async def close(self) -> None:
        """Stop, also in the middle of a look."""
        task, self._task = self._task, None
        while task is not None and not task.done():
            # Before Python 3.12, wait_for() forgets to be cancelled if its result comes just then.
            task.cancel()
            await asyncio.wait([task], timeout=0.2)

    def wake(self) -> None:
        """Look soon."""
        self._woken.set()

    async def looked(self) -> None:
        """Return once the first look is over, however it went."""
        await self._looked.wait()

    async def _run(self, delay: float) -> None:
        while True:
            await self._wait(delay)
            delay = await self._step()
            self._looked.set()

    async def _wait(self, delay: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._woken.wait(), delay)
        await asyncio.sleep(max(0.0, self._last + self._least - time.monotonic()))
        self._woken.clear()

    async def _step(self) -> float:
        """Look once; return the seconds until the next time."""
        self._last = time.monotonic()
        spread = random.uniform(0.9, 1.1)  # noqa: S311 - spreads load only
        try:
            await self._look()
        except GateError as error:
            self.error = error
            repeated = self._failures > 0
            say = self._log.debug if repeated else self._log.warning
            say("Cannot refresh %s: %s %s", self._name, error, error.hint)
            asked = error.retry_after if isinstance(error, Throttled) else 0.0
            return self._back_off(asked) * spread
        except Exception:
            self._log.exception("Cannot refresh %s", self._name)
            return self._back_off() * spread
        if self._failures:
            self._log.info("Refreshed %s again", self._name)
        self._failures, self.error = 0, None
        return self._interval * spread

    def _back_off(self, least: float = 0.0) -> float:
        pause = min(self._pause * 2.0 ** min(self._failures, 30), self._interval)
        self._failures += 1
        return max(pause, least)
