"""What goes wrong at the elastic site on this machine, put there by tests as files."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from skyport_gates import gate as contract
from skyport_gates.gate import GateError
from skyport_gates.local_files import write_private


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next ``call``.

    That is create, get, list, delete, suspend, resume, boot or wake.

    ``effect``: a class name of a GateError is raised, with nothing done; "hang" never answers;
    "lost_answer" does the work and then raises GateUnavailable; "lost_hang" does the work and
    then never answers. For "boot" a class name makes the partition FAILED with that error, "hang"
    never READY, and "deaf" READY, but nobody can log in. For "wake" (the boot of one that slept)
    a class name lets it sleep on with that error. ``retry_after`` goes into the error.
    """

    call: str
    effect: str
    flavor: str = ""
    region: str = ""
    retry_after: float | None = None


_sequence = itertools.count()


def inject(home: Path, fault: Fault, times: int = 1) -> None:
    """Let the next ``times`` calls to the gate whose folder is ``home`` fail."""
    folder = home / "faults"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(times):
        number = f"{time.time_ns()}-{os.getpid()}-{next(_sequence)}"
        write_private(folder / f"{number}.json", json.dumps(asdict(fault)))


def clear_faults(home: Path) -> None:
    """Take back all faults that have not happened yet."""
    shutil.rmtree(home / "faults", ignore_errors=True)


def make_error(kind: str, message: str, retry_after: float | None = None) -> GateError:
    """An error of the contract by its class name."""
    cls = getattr(contract, kind)
    assert issubclass(cls, GateError)
    error: GateError = cls(message, **({} if retry_after is None else {"retry_after": retry_after}))
    return error


def take_fault(home: Path, call: str, flavor: str, region: str) -> Fault | None:
    """The oldest fault for this call, which is used up by that; None if there is none."""
    for path in sorted((home / "faults").glob("*.json")):
        try:
            fault = Fault(**json.loads(path.read_text()))
            fits = fault.flavor in ("", flavor) and fault.region in ("", region)
            if fault.call == call and fits:
                path.unlink()
                return fault
        except FileNotFoundError:
            continue  # another call took it
    return None
