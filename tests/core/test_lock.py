"""One core per home."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from skyport_core.lock import HomeLock, HomeLockedError

HOLDER = """
import sys, signal, pathlib
from skyport_core.lock import HomeLock
HomeLock(pathlib.Path(sys.argv[1])).acquire()
print("held", flush=True)
signal.pause()
"""


def hold(home: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(home)], stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    return holder


def test_second_core_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    try:
        with pytest.raises(HomeLockedError, match=str(holder.pid)):
            HomeLock(tmp_path).acquire()
    finally:
        holder.kill()
        holder.communicate()


def test_takeover_ends_the_holder(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    lock = HomeLock(tmp_path)
    lock.acquire(takeover=True)
    lock.release()
    assert holder.wait(5) != 0
    holder.communicate()


def test_lock_of_a_killed_core_is_free(tmp_path: Path) -> None:
    holder = hold(tmp_path)
    holder.kill()
    holder.communicate()
    lock = HomeLock(tmp_path)
    lock.acquire()
    lock.release()
