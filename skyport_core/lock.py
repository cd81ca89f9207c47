"""One core per home: a file lock that a successor may ask the holder to give up."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
from pathlib import Path

HAND_OVER = signal.SIGUSR1
"""Asks a core to leave its jobs to a successor, whatever it does with them at its own end."""

TERM_TIMEOUT = 20.0
"""Seconds a core that is asked to leave has to leave by itself."""


class HomeLockedError(Exception):
    """Another core runs with the same home."""


class HomeLock:
    """Exclusive use of a home folder, held until the process ends or :meth:`release`.

    The kernel drops the lock with the process, so that nothing has to be cleaned up after a kill.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "core.lock"
        self._file: int | None = None

    def acquire(self, *, takeover: bool = False) -> None:
        """Take the lock.

        With ``takeover`` a core that holds it is sent :data:`HAND_OVER`, and SIGKILL after 20 s: a
        hub that was killed leaves its managed core behind, which its successor replaces.

        Raises HomeLockedError, with the holder's pid, when the lock is not to be had.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not self._try(descriptor):
            holder = self._holder(descriptor)
            if not takeover or holder is None:
                os.close(descriptor)
                who = f"process {holder}" if holder else "another process"
                raise HomeLockedError(
                    f"{who} already runs a core with the home {self._path.parent}"
                )
            self._replace(descriptor, holder)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._file = descriptor

    def release(self) -> None:
        """Give the lock back."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _replace(self, descriptor: int, holder: int) -> None:
        for number in (HAND_OVER, signal.SIGKILL):
            deadline = time.monotonic() + TERM_TIMEOUT
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder, number)
            while time.monotonic() < deadline:
                if self._try(descriptor):
                    return
                time.sleep(0.05)
        os.close(descriptor)
        raise HomeLockedError(f"process {holder} holds {self._path} and could not be stopped")

    @staticmethod
    def _try(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    @staticmethod
    def _holder(descriptor: int) -> int | None:
        text = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None
