"""Hearing of the end of a process in an event loop, whichever thread started it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable


class ExitWatch:
    """Calls ``ended`` once when a process ends, unless it was cancelled before.

    Made and cancelled in the event loop that it calls from.
    """

    def __init__(self, pid: int, ended: Callable[[], None]) -> None:
        self._ended = ended
        self._descriptor: int | None = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._fire)

    def cancel(self) -> None:
        """Do not call any more."""
        if self._descriptor is not None:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None

    def _fire(self) -> None:
        self.cancel()
        self._ended()
