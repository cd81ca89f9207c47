"""Spot machines of a core's elastic site, and a job that tells where it ran."""

from __future__ import annotations

from pathlib import Path

from skyport_core.model import JobState
from skyport_core.wire import EventView
from tests.core.partitions.site import gate_home
from tests.infra.desk import Desk
from tests.infra.elastic import preempt, records
from tests.infra.wait import eventually

SPOT = """
c.ElasticTestGate.offer_spot = True
c.ElasticTestGate.sizes = {name: (1.0, 1024, 0.1) for name in "abcdefghijklmnopqrstuvwxyz"}
"""

ONCE_MORE = """
echo run >> {runs}
[ $(wc -l < {runs}) -gt 1 ] && exec cat out
echo saved > out; chmod 640 out
exec sleep 600
"""
"""The first run makes a result and stays; the second shows what it finds and ends."""


async def started(desk: Desk, runs: Path, **fields: object) -> str:
    """A spot job that has made its first result."""
    script = ONCE_MORE.format(runs=runs)
    options = {"spot": True, "outputs": ["out"], **fields}
    job_id = await desk.submit("sh", "-c", script, **options)
    await eventually(runs.exists, "first run of the job", 20)
    await desk.reach(job_id, JobState.RUNNING)
    return job_id


async def take_back(desk: Desk, notice: float | None = None) -> None:
    """The site takes the only machine back."""
    [record] = [found for found in records(gate_home(desk)) if found.status == "ready"]
    await preempt(gate_home(desk), record.name, notice)


async def told(desk: Desk, job_id: str) -> list[EventView]:
    """The events of the eviction."""
    return [event for event in await desk.events(job_id) if event.reason == "preempted"]
