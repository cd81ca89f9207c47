"""Small helpers over the files and processes of the local SSH server; no third-party imports."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

_SUN_PATH_LIMIT = 100
"""Bytes that fit into a Unix socket's address on every platform (the limit is 104 or 108)."""

_RECORD = 256
"""Bytes of the longest record of a job's supervisor."""


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, in one step (never half a file)."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def process_start(pid: int) -> str | None:
    """When a process started, as an opaque text, or None if it does not live (zombies do not).

    Together with the process id it names one process for as long as the machine runs.
    """
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    state, start = fields[0], fields[19]
    return None if state in "ZX" else start


def live_jobs(homes_dir: Path) -> bool:
    """Whether a job below one of the homes lives.

    The program that runs jobs on nodes keeps ``.skyport/jobs/ID/.runner/lock`` in the login's
    home: process id, start time and boot id of the job's supervisor. ``exit`` beside it says that
    the job has ended.
    """
    boot = _boot_id()
    for record in homes_dir.glob("*/.skyport/jobs/*/.runner/lock"):
        try:
            pid, start, at = _begin(record).split()
            lives = at == boot and process_start(int(pid)) == start
            if lives and not record.with_name("exit").exists():
                return True
        except (OSError, ValueError):
            continue  # removed meanwhile, or not a record
    return False


def _begin(path: Path) -> str:
    """The first bytes of a login's file. Raises OSError for what could hold up its reader."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.read(descriptor, _RECORD).decode()
    finally:
        os.close(descriptor)


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return "-"


@contextlib.contextmanager
def control_address(home: Path) -> Iterator[str]:
    """An address for ``home/control.sock`` that is short enough for a Unix socket."""
    path = str(home / "control.sock")
    if len(os.fsencode(path)) <= _SUN_PATH_LIMIT:
        yield path
        return
    folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/control.sock"
    finally:
        os.close(folder)
