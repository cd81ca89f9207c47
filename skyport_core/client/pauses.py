"""When to try again."""

from __future__ import annotations

import asyncio
import random

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two tries to reach a core that is away, at first and at most."""


class Pauses:
    """Growing pauses between tries, until ``wait`` seconds have passed."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._pause = FIRST_PAUSE
        self.restart()

    def restart(self) -> None:
        """Count the time from now, since the core was there; the pauses go on growing."""
        self._end = asyncio.get_running_loop().time() + self._wait

    @property
    def left(self) -> float:
        """Seconds until no other try should be made."""
        return self._end - asyncio.get_running_loop().time()

    @property
    def over(self) -> bool:
        """Whether no other try should be made."""
        return self.left <= 0

    async def sleep(self) -> None:
        """Pause before the next try, hardly beyond the end."""
        # Not for cryptography: it only keeps many clients from coming back in step.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        await asyncio.sleep(max(FIRST_PAUSE / 2, min(pause, self.left)))
