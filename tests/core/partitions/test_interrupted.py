"""Cancels, deadlines and killed cores while a node is made for a job."""

from __future__ import annotations

import pytest

from skyport_core.model import JobState
from skyport_gates.gate import GateContext
from tests.core.partitions.site import SITE, at_the_site, gate_home
from tests.infra.desk import OpenDesk
from tests.infra.elastic import ElasticTestGate
from tests.infra.wait import eventually


async def test_cancel_while_the_node_is_being_made_removes_it(open_desk: OpenDesk) -> None:
    desk = await open_desk(SITE + "c.ElasticTestGate.delay = 600")
    job_id = await desk.submit("true")
    await eventually(lambda: at_the_site(desk), "partition accepted")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is JobState.CANCELLED
    assert at_the_site(desk) == []


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("state", ["ALLOCATING", "STAGING", "COLLECTING", "FINISHED"])
async def test_killed_core_loses_no_node(open_desk: OpenDesk, moment: str, state: str) -> None:
    desk = await open_desk(SITE, fault=f"{moment}:{state}")
    job_id = await desk.submit("true")
    await desk.core.wait_fault()
    await desk.core.start()
    assert (await desk.end(job_id)).state is JobState.FINISHED
    assert await eventually(lambda: not at_the_site(desk), "site empty")


async def test_node_that_vanished_while_the_core_was_away_fails_its_job(
    open_desk: OpenDesk,
) -> None:
    desk = await open_desk(SITE)
    job_id = await desk.submit("sleep", "600")
    await desk.reach(job_id, JobState.RUNNING)
    await desk.core.kill9()
    gate = ElasticTestGate(context=GateContext("", gate_home(desk), ""))
    await gate.destroy()
    await desk.core.start()
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "node_gone"
