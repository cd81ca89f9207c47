"""A program on a terminal of its own, ended as a person does it: with Ctrl-C."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

CTRL_C = b"\x03"


class Terminal:
    """Runs ``command`` with a pseudo terminal as its controlling one; use as a context manager.

    Parameters
    ----------
    log
        File that everything shown on the terminal is written to.
    """

    def __init__(
        self, command: Sequence[str], log: Path, *, cwd: Path, env: Mapping[str, str]
    ) -> None:
        self.log = log
        self._master, slave = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=cwd,
            env=dict(env),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.log.open("wb") as file, contextlib.suppress(OSError):
            while data := os.read(self._master, 65536):
                file.write(data)
                file.flush()

    def press(self, key: bytes) -> None:
        """Type ``key``."""
        os.write(self._master, key)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.press(CTRL_C)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self._reader.join(5)
        os.close(self._master)
