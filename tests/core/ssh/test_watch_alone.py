"""The watching helper on the node, without a connection around it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import psutil

from skyport_core.ssh.program import PROGRAM
from tests.infra.wait import eventually


def running_with_home(home: Path) -> list[int]:
    """Processes whose HOME is ``home``."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("HOME") == str(home):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def test_a_connection_that_breaks_while_the_helper_starts_leaves_no_process(
    tmp_path: Path,
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    helper = subprocess.Popen(
        ["sh", "-s", "watch", "-"],
        stdin=subprocess.PIPE,
        stdout=writing,
        stderr=subprocess.DEVNULL,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
    )
    os.close(writing)
    assert helper.stdin is not None
    try:
        helper.stdin.write(PROGRAM.encode())
        helper.stdin.flush()
        helper.wait(10)
        await eventually(lambda: not running_with_home(tmp_path), "end of the helper's processes")
    finally:
        helper.stdin.close()
        for pid in running_with_home(tmp_path):
            os.kill(pid, 9)
