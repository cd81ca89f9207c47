"""The core's own program, killing itself (SIGKILL) at a named point of a job's life, once.

SKYPORT_TEST_FAULT names the point as ``before:STATE`` or ``after:STATE``: just before or just
after a change of a job into STATE is committed. SKYPORT_TEST_FAULT_MARK is a file that is made
when it fires; while the file exists the core lives on, so that the next start goes through.

``before:partition:STATE`` and ``after:partition:STATE`` speak of a partition's record instead;
STATE may also be a reason, such as ``woken``.

``hold:STATE`` does not kill: the change into STATE waits until a file of the mark's name with
``.go`` behind it exists, so that a test can do something to others meanwhile.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from skyport_core.app import main
from skyport_core.model import Job, JobState, PartitionRecord
from skyport_core.store import Store
from tests.infra.wait import eventually

_WHEN, _, _STATE = os.environ["SKYPORT_TEST_FAULT"].partition(":")
_MARK = Path(os.environ["SKYPORT_TEST_FAULT_MARK"])
_PARTITION = _STATE.removeprefix("partition:") if _STATE.startswith("partition:") else None
_FAULT_STATE = None if _PARTITION else JobState(_STATE)

_update_job, _put_job = Store.update_job, Store.put_job
_update_partition = Store.update_partition


def _die(when: str) -> None:
    if when == _WHEN and not _MARK.exists():
        _MARK.touch()
        os.kill(os.getpid(), signal.SIGKILL)


async def _hold() -> None:
    if _WHEN == "hold":
        _MARK.touch()
        go = _MARK.with_name(f"{_MARK.name}.go")
        await eventually(go.exists, "leave to go on", timeout=120)


async def _faulty_update(self: Store, job: Job, *args: Any, **changes: Any) -> Job:
    entering = job.state is not _FAULT_STATE and changes.get("state", job.state) is _FAULT_STATE
    if entering:
        _die("before")
        await _hold()
    changed = await _update_job(self, job, *args, **changes)
    if entering:
        _die("after")
    return changed


async def _faulty_put(self: Store, *args: Any, **options: Any) -> tuple[Job, bool]:
    if _FAULT_STATE is JobState.QUEUED:
        _die("before")
    job, created = await _put_job(self, *args, **options)
    if _FAULT_STATE is JobState.QUEUED and created:
        _die("after")
    return job, created


async def _faulty_partition(
    self: Store, record: PartitionRecord, *args: Any, **changes: Any
) -> PartitionRecord:
    entering = _PARTITION is not None and _PARTITION in (
        changes.get("state", record.state).value,
        changes.get("reason"),
    )
    entering = entering and _PARTITION not in (record.state.value, record.reason)
    if entering:
        _die("before")
    changed = await _update_partition(self, record, *args, **changes)
    if entering:
        _die("after")
    return changed


if __name__ == "__main__":
    Store.update_job = _faulty_update  # type: ignore[method-assign]
    Store.put_job = _faulty_put  # type: ignore[method-assign]
    Store.update_partition = _faulty_partition  # type: ignore[method-assign]
    main()
