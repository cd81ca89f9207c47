"""Identity of this test run, by which everything it starts is known and removed.

Every process that the tests start inherits the variable :data:`MARKER`; what lies outside the
processes (namespaces, folders) is recorded below :data:`RECORDS` under the same identity. So a
run that was killed before it could clean up is recognised, and swept, by the next one.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

MARKER = "SKYPORT_TEST_RUN"
_STATE = "/run" if os.geteuid() == 0 else tempfile.gettempdir()
RECORDS = Path(_STATE, "skyport-tests")


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None once it is gone (or a zombie)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


RUN_ID = f"{os.getpid()}-{start_ticks(os.getpid())}"


def mark() -> None:
    """Mark this process's future children as belonging to this run."""
    os.environ[MARKER] = RUN_ID


def run_alive(run_id: str) -> bool:
    """Whether the test process that owns an identity still lives."""
    pid, _, ticks = run_id.partition("-")
    return pid.isdigit() and str(start_ticks(int(pid))) == ticks


def marked_processes() -> Iterator[tuple[int, str]]:
    """``(pid, run id)`` of every live process started by any test run, in all pid namespaces."""
    needle = MARKER.encode() + b"="
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            for item in (entry / "environ").read_bytes().split(b"\0"):
                if item.startswith(needle) and start_ticks(int(entry.name)) is not None:
                    yield int(entry.name), item[len(needle) :].decode()


def own_processes() -> dict[int, str]:
    """Command lines, by pid, of the live processes that this run started."""
    found = {}
    for pid, run_id in marked_processes():
        if run_id == RUN_ID:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                found[pid] = b" ".join(words).decode(errors="replace").strip()
    return found


def kill(pid: int, sig: int = signal.SIGKILL) -> None:
    """Send a signal; a process that is gone already is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sig)


def wait_until(condition: Callable[[], object], what: str, timeout: float = 10.0) -> None:
    """Look at ``condition`` until it holds; TimeoutError naming ``what`` after ``timeout`` s."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(0.01)


def record_dir(name: str) -> Path:
    """A new folder in this run's records."""
    folder = RECORDS / RUN_ID / name
    folder.mkdir(parents=True)
    return folder


def forget(folder: Path) -> None:
    """Remove a folder of the records, and the run's own one when it was the last."""
    shutil.rmtree(folder, ignore_errors=True)
    for parent in (folder.parent, RECORDS):
        with contextlib.suppress(OSError):
            parent.rmdir()


def sweep() -> list[str]:
    """Remove what dead runs left: their processes, then namespaces and folders.

    Returns
    -------
    list of str
        What was removed, one line each.
    """
    removed = []
    for pid, run_id in list(marked_processes()):
        if not run_alive(run_id):
            kill(pid)
            removed.append(f"process {pid} of run {run_id}")
    for folder in RECORDS.glob("*") if RECORDS.exists() else ():
        if run_alive(folder.name):
            continue
        from tests.infra import netns

        for name in netns.names():
            if name.startswith(netns.prefix(folder.name)):
                netns.delete(name)
                removed.append(f"network namespace {name}")
        for link in folder.glob("*/temporary"):
            shutil.rmtree(link.read_text(), ignore_errors=True)
        forget(folder / "all")
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(f"records of run {folder.name}")
    return removed


@contextlib.contextmanager
def short_folder(name: str) -> Iterator[Path]:
    """A folder with a path short enough for Unix sockets; gone at the end."""
    path = Path(tempfile.mkdtemp(prefix=f"sky-{name}-"))
    note = record_dir(path.name)
    (note / "temporary").write_text(str(path))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        forget(note)
