"""Azure takes a user's machine back in the middle of a cell: the server goes on elsewhere."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from skyport_core.model import JobState
from tests.e2e.cloud import SIZE, azure
from tests.e2e.steps import hub_over
from tests.infra.lab import NOTEBOOK
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes

LONG_CELL = """
import os, pathlib, time
pathlib.Path("results").mkdir(exist_ok=True)
pathlib.Path("results/seen").write_text(os.uname().nodename)
time.sleep(600)
"""
LOOK = "import os; print(open('results/seen').read(), os.uname().nodename)"


async def test_a_server_evicted_in_the_middle_of_a_cell_is_back_with_its_results(fabric: Fabric):
    async with (
        azure(fabric) as cloud,
        hub_over(cloud.core, fabric, NOTEBOOK, outputs=["results/**"]) as hub,
        cloud.core.client() as client,
    ):
        await hub.start_server("alice", options={"flavor": SIZE, "spot": "yes"})
        await hub.wait_ready("alice")
        before = await hub.server("alice")
        address = await hub.address("alice")
        (name,) = cloud.backend.guests()
        kernel = await hub.kernel("alice")
        cell = asyncio.create_task(kernel.execute(LONG_CELL, timeout=120))
        guest = cloud.backend.guest(name)
        seen = ["cat", "/home/alice/results/seen"]
        host = await eventually(
            lambda: guest.run(seen, check=False).stdout.strip(), "the cell's file"
        )
        await eventually(lambda: cloud.backend.host(name).asked, "question of the node's agent")
        assert not cell.done()
        arm = cloud.endpoint.arm
        arm.spawn(arm.evict(name, notice=20))

        async def moved() -> bool:
            (job,) = await client.list_jobs(owner="alice")
            server = await hub.server("alice")
            assert server is not None and server["ready"], "the hub thinks that it runs"
            return job.state is JobState.RUNNING and name not in cloud.backend.guests()

        await eventually(moved, "the server on another machine", 40)
        with pytest.raises((ConnectionError, aiohttp.ClientError)):
            await cell
        after = await hub.server("alice")
        assert before is not None and after is not None
        assert (after["url"], after["started"]) == (before["url"], before["started"])
        assert await hub.address("alice") == address
        again = await hub.kernel("alice")
        first, second = (await again.execute(LOOK)).split()
        assert first == host != second
        await hub.stop_server("alice")
        await cloud.clean()
