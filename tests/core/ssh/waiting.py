"""Waiting for conditions with a deadline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import psutil

from skyport_core.ssh.runner import Runner, RunnerStatus

DEADLINE = 20.0


async def until(condition: Callable[[], bool], what: str, deadline: float = DEADLINE) -> None:
    """Return once ``condition()`` is true."""
    end = time.monotonic() + deadline
    while not condition():
        assert time.monotonic() < end, f"not within {deadline:g} s: {what}"
        await asyncio.sleep(0.01)


async def until_state(runner: Runner, state: str, deadline: float = DEADLINE) -> RunnerStatus:
    """The status once the job is in ``state``."""
    end = time.monotonic() + deadline
    while (status := await runner.status()).state != state:
        assert time.monotonic() < end, f"still {status} after {deadline:g} s"
        await asyncio.sleep(0.02)
    return status


async def until_logged(runner: Runner, text: bytes, deadline: float = DEADLINE) -> bytes:
    """The job's output once ``text`` is in it."""
    end = time.monotonic() + deadline
    while text not in (output := await runner.log()):
        assert time.monotonic() < end, f"{text!r} is not in {output!r}"
        await asyncio.sleep(0.02)
    return output


def alive(pid: int) -> bool:
    """Whether a process lives; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def carrying(text: str) -> list[int]:
    """Process ids that have ``text`` in their arguments or environment."""
    found = []
    for process in psutil.process_iter():
        try:
            if text in " ".join(process.cmdline()) or text in str(process.environ()):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
    return found
