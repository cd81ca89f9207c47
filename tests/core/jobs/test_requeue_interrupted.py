"""A core that is killed while a job starts over goes on from there."""

from __future__ import annotations

import psutil
import pytest

from skyport_core.model import JobState
from tests.core.api.served import Http
from tests.infra.desk import OpenDesk
from tests.infra.wait import eventually

SCRIPT = """#!/bin/sh
echo life >> ~/lives
echo "$(wc -l < ~/lives)" > result
[ "$(wc -l < ~/lives)" -eq 2 ] && exit 0
sleep 600
"""


@pytest.mark.parametrize(
    "fault", ["before:COLLECTING", "after:COLLECTING", "before:QUEUED", "after:QUEUED"]
)
async def test_a_job_starts_over_once_whenever_the_core_is_killed(
    open_desk: OpenDesk, fault: str
) -> None:
    desk = await open_desk("c.SkyPortCore.stop_grace = 0.2", fault=fault)
    if fault.endswith("QUEUED"):
        # Also the submission is such a change.
        (desk.core.home / "fault-fired").touch()
    job_id = await desk.submit(script=SCRIPT, outputs=["result"])
    await desk.reach(job_id, JobState.RUNNING)

    async def lived() -> bool:
        return any(desk.core.home.glob("gates/local/homes/*/lives"))

    await eventually(lived, "first life")
    (desk.core.home / "fault-fired").unlink(missing_ok=True)
    async with Http(desk.core.home / "core.sock") as http:
        assert (await http("POST", f"/jobs/{job_id}/requeue")).status == 202
    await desk.core.wait_fault()
    await desk.core.start()
    job = await desk.end(job_id)
    assert (job.state, job.attempt) == (JobState.FINISHED, 1)
    (lives,) = desk.core.home.glob("gates/local/homes/*/lives")
    assert lives.read_text() == "life\nlife\n"
    assert (desk.core.home / "jobs" / job_id / "files/result").read_text() == "2\n"
    assert list(desk.core.home.glob("gates/local/homes/*/.skyport/jobs/*")) == []
    assert not [each for each in psutil.process_iter() if job_id in " ".join(arguments(each))]


def arguments(process: psutil.Process) -> list[str]:
    """The words that a process was started with."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []
