"""Network namespaces: making them, and opening sockets inside them from this process."""

from __future__ import annotations

import ctypes
import itertools
import os
import socket
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.infra.run import RUN_ID

_FOLDER = Path("/run/netns")
_CLONE_NEWNET = 0x40000000
_counter = itertools.count(1)


def prefix(run_id: str) -> str:
    """What the names of a run's namespaces start with."""
    return f"sky{run_id}-"


def names() -> list[str]:
    """All named network namespaces of the machine."""
    return [entry.name for entry in _FOLDER.iterdir()] if _FOLDER.exists() else []


def ip(*lines: str, inside: str | None = None) -> None:
    """Run many ``ip`` commands in one process, optionally inside a namespace."""
    where = ["-n", inside] if inside else []
    text = "\n".join(lines) + "\n"
    subprocess.run(["ip", *where, "-batch", "-"], input=text, text=True, check=True)


def delete(name: str) -> None:
    """Remove a namespace's name; it vanishes with its last process and socket."""
    subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)


class Namespace:
    """One network namespace of this run, with its loopback up."""

    def __init__(self, label: str) -> None:
        self.name = f"{prefix(RUN_ID)}{next(_counter)}-{label}"
        self._thread: ThreadPoolExecutor | None = None
        ip(f"netns add {self.name}")
        ip("link set lo up", inside=self.name)

    @property
    def command_prefix(self) -> tuple[str, ...]:
        """Words before a command that make it run in this namespace, all else unchanged."""
        return ("nsenter", f"--net={_FOLDER / self.name}", "--")

    def run(self, argv: Sequence[str], *, text: str | None = None, check: bool = True) -> str:
        """Run a command inside to its end and return what it printed."""
        result = subprocess.run(
            [*self.command_prefix, *argv], input=text, text=True, check=check, capture_output=True
        )
        return result.stdout

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """A new socket that lives in this namespace, whichever thread uses it then."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, "netns", initializer=self._enter)
        return self._thread.submit(socket.socket, family, kind).result()

    def connect(self, host: str, port: int, timeout: float = 5.0) -> socket.socket:
        """A TCP connection made from inside; ``timeout`` in seconds stays set on it."""
        connection = self.socket()
        try:
            connection.settimeout(timeout)
            connection.connect((host, port))
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Remove the namespace."""
        if self._thread:
            self._thread.shutdown()
        delete(self.name)

    def _enter(self) -> None:
        descriptor = os.open(_FOLDER / self.name, os.O_RDONLY)
        try:
            if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), f"cannot enter namespace {self.name}")
        finally:
            os.close(descriptor)
