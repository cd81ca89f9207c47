"""What a test run must not leave behind, looked for at its end."""

from __future__ import annotations

import contextlib
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.infra import netns, run
from tests.infra.nodes import CHECKOUT
from tests.infra.wait_sync import settle

_USUAL = (".cache", ".config", ".ipython", ".jupyter", ".local", ".skyport")
"""Folders that Jupyter and other programs make in any home; no job's files stay in them."""


@dataclass(frozen=True)
class Surroundings:
    """What stands around the tests; taken before them to compare with afterwards."""

    files: frozenset[str]
    mounts: frozenset[str]
    checkout: frozenset[str]

    @classmethod
    def now(cls) -> Surroundings:
        """Look at the machine as it is."""
        return cls(frozenset(_files()), frozenset(_mounts()), frozenset(_checkout()))


def own() -> list[str]:
    """What this process's tests left of their own, one line each; processes of it are ended."""
    found = [f"process {pid}: {line}" for pid, line in settle(_processes).items()]
    for pid in _processes():
        run.kill(pid)
    found += [f"socket of the test process: {line}" for line in _sockets()]
    found += [
        f"network namespace {name}"
        for name in netns.names()
        if name.startswith(netns.prefix(run.RUN_ID))
    ]
    records = run.RECORDS / run.RUN_ID
    if records.exists():
        found += [f"record {entry}" for entry in records.iterdir()]
    return found


def around(before: Surroundings, *, alone: bool) -> list[str]:
    """What stands on the machine since the tests began, one line each.

    Parameters
    ----------
    before
        The machine before the tests.
    alone
        Nothing else works on this machine, so that any new file is the tests'.
    """
    after = Surroundings.now()
    found = [f"mount {line}" for line in after.mounts - before.mounts if _ours(line) or alone]
    if alone:
        found += [f"file {path}" for path in sorted(settle(lambda: _files() - before.files))]
        found += [f"in the checkout: {line}" for line in sorted(after.checkout - before.checkout)]
    return found


def _processes() -> dict[int, str]:
    """Live processes of this run by pid: descendants, orphans of descendants, and marked ones."""
    found = run.own_processes()
    for process in psutil.Process(os.getppid() if _adopted() else None).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid] = " ".join(process.cmdline()) or process.name()
    return found


def _adopted() -> bool:
    """Whether this process's parent is its reaper (see reaper.py), not a shell."""
    return os.environ.get("SKYPORT_TEST_REAPER") == str(os.getppid())


def _sockets() -> list[str]:
    """Sockets that the test process itself still listens on."""
    return [
        f"{connection.laddr}"
        for connection in psutil.Process().net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    ]


def _files() -> set[str]:
    """Entries of the folders where programs put their files, without this run's own TMPDIR."""
    home = Path.home()
    own = {tempfile.gettempdir(), "/run/netns", *(str(home / name) for name in _USUAL)}
    folders = ["/tmp", "/run", "/var/tmp", "/dev/shm", home, home / ".skyport/jobs"]
    folders += [home / ".local/state", "/run/skyport-tests"]
    entries = {str(e) for folder in map(Path, folders) if folder.is_dir() for e in folder.iterdir()}
    return entries - own


def _mounts() -> set[str]:
    return {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()}


def _ours(line: str) -> bool:
    return line.startswith((str(run.RECORDS), tempfile.gettempdir() + "/sky-"))


def _checkout() -> set[str]:
    """Changed and unknown files of the checkout, as git sees them; nothing without git."""
    result = subprocess.run(
        ["git", "-C", str(CHECKOUT), "status", "--porcelain"],
        check=False,
        capture_output=True,
        text=True,
    )
    return set(result.stdout.splitlines())
