"""A server whose machine is taken back moves to another, and the hub need not know."""

from __future__ import annotations

import aiohttp
import pytest

from tests.infra.core import CoreProcess
from tests.infra.elastic import preempt, records
from tests.infra.hub import Hub
from tests.infra.lab import TINY, hub_config
from tests.spawner.steps import QUICK_HUB, only_job, until_ready, until_state

CLOUD = """
c.SkyPortCore.gates = {"cloud": "tests.infra.elastic:ElasticTestGate"}
c.SkyPortCore.stop_grace = 0.5
c.ElasticTestGate.offer_spot = True
"""


async def test_a_server_that_moves_counts_as_running_all_the_time():
    async with (
        CoreProcess(CLOUD, fault="hold:QUEUED") as core,
        Hub(hub_config(core, TINY) + QUICK_HUB) as hub,
    ):
        await hub.start_server("ann", options={"spot": "yes"})
        await until_ready(hub, "ann")
        before = await only_job(core, "ann")
        home = core.home / "gates/cloud"
        [machine] = records(home)
        await preempt(home, machine.name, notice=30)
        await core.wait_hold()
        assert (await only_job(core, "ann")).state.value == "COLLECTING"
        # A hub that is asked to start a ready server polls it first.
        with pytest.raises(aiohttp.ClientResponseError, match="already running"):
            await hub.start_server("ann")
        core.let_go()
        after = await until_state(core, "ann", "RUNNING")
        assert after.node != before.node and after.address == before.address
        await until_ready(hub, "ann")
