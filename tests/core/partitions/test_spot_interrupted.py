"""Cores that are killed while a spot machine is taken back."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyport_core.model import JobState
from tests.core.partitions.site import SITE, at_the_site
from tests.core.partitions.spot import SPOT, started, take_back
from tests.infra.desk import OpenDesk
from tests.infra.wait import eventually


@pytest.mark.parametrize(
    "fault",
    [
        "before:COLLECTING",
        "after:COLLECTING",
        "before:partition:preempted",
        "after:partition:preempted",
    ],
)
async def test_core_killed_at_any_point_of_an_eviction_saves_and_moves_the_job(
    open_desk: OpenDesk, tmp_path: Path, fault: str
) -> None:
    desk = await open_desk(SITE + SPOT, fault=fault)
    job_id = await started(desk, tmp_path / "runs", on_eviction="move")
    await take_back(desk, notice=40)
    await desk.core.wait_fault()
    await desk.core.start()
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await desk.log(job_id) == "saved\n"
    await eventually(lambda: not at_the_site(desk), "site empty")


async def test_machine_taken_back_while_the_core_was_away_moves_its_job(
    open_desk: OpenDesk, tmp_path: Path
) -> None:
    desk = await open_desk(SITE + SPOT)
    job_id = await started(desk, tmp_path / "runs")
    await desk.core.kill9()
    await take_back(desk)
    await desk.core.start()
    await desk.end(job_id)
    reasons = [event.reason for event in await desk.events(job_id)]
    assert reasons.count("preempted") == 1
    assert (tmp_path / "runs").read_text() == "run\nrun\n"
