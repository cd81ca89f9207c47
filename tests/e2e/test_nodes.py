"""Three on-prem nodes behind a hub: servers spread over them, wait for room, and leave nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

from skyport_core.model import JobState
from tests.e2e.steps import clean, fetch, hub_over, lab, visit
from tests.infra.lab import NOTEBOOK
from tests.infra.nodes import Fabric, Node
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes

USERS = [f"u{number:02}" for number in range(1, 14)]


async def test_twelve_servers_fill_three_nodes_and_the_thirteenth_waits_for_its_turn(
    fabric: Fabric, nodes: list[Node]
):
    async with (
        lab(fabric, nodes, cpus=4) as core,
        hub_over(core, fabric) as hub,
        core.client() as c,
    ):
        for user in USERS[:12]:
            await hub.start_server(user)
        await asyncio.gather(*(hub.wait_ready(user) for user in USERS[:12]))
        places = {user: (await visit(hub, user)).split()[0] for user in USERS[:12]}
        assert Counter(places.values()) == {"node1": 4, "node2": 4, "node3": 4}
        assert [node.free_cpus for node in await c.nodes()] == [0, 0, 0]

        await hub.start_server("u13")
        async with contextlib.aclosing(hub.progress("u13")) as events:
            async for event in events:
                if "Waiting for 1 cpus" in event["message"]:
                    break
        [waiting] = await c.list_jobs(owner="u13")
        assert waiting.state is JobState.QUEUED
        assert waiting.position == 1
        assert "Waiting for 1 cpus" in waiting.wait_reason

        await hub.stop_server("u05")
        await hub.wait_ready("u13")
        assert (await visit(hub, "u13")).split()[0] == places["u05"]

        await core.cancel_all()
        await clean(nodes)
        assert [node.free_cpus for node in await c.nodes()] == [4, 4, 4]


async def test_a_notebook_on_a_node_runs_code_as_its_user(fabric: Fabric, nodes: list[Node]):
    async with lab(fabric, nodes) as core, hub_over(core, fabric, NOTEBOOK) as hub:
        await hub.start_server("alice")
        await hub.wait_ready("alice")
        kernel = await hub.kernel("alice")
        code = "import getpass, os; print(getpass.getuser(), os.uname().nodename, os.getcwd())"
        user, place, folder = (await kernel.execute(code)).split()
        assert user == "alice"
        assert place in {node.name for node in nodes}
        assert folder == "/home/alice"
        await hub.stop_server("alice")
        await clean(nodes)


async def test_a_users_page_asks_the_hub_who_may_see_it(fabric: Fabric, nodes: list[Node]):
    async with lab(fabric, nodes) as core, hub_over(core, fabric, NOTEBOOK) as hub:
        await hub.start_server("alice")
        await hub.wait_ready("alice")
        alice, bob = await hub.login("alice"), await hub.login("bob")
        async with alice, bob:
            async with alice.get(f"{hub.url}/user/alice/lab") as page:
                assert page.status == 200
            async with alice.get(f"{hub.url}/user/alice/api/me") as answer:
                assert (await answer.json())["identity"]["username"] == "alice"
            async with bob.get(f"{hub.url}/user/alice/lab") as page:
                assert page.status == 403


async def test_a_drained_node_gets_no_new_servers(fabric: Fabric, nodes: list[Node]):
    async with lab(fabric, nodes) as core, hub_over(core, fabric) as hub, core.client() as client:
        await eventually(client.nodes, "the site's nodes")
        await client.drain("lab", "node1", "disk swap")
        await client.drain("lab", "node3", "disk swap")
        for user in USERS[:3]:
            await hub.start_server(user)
        await asyncio.gather(*(hub.wait_ready(user) for user in USERS[:3]))
        assert {(await visit(hub, user)).split()[0] for user in USERS[:3]} == {"node2"}


async def test_each_job_has_an_address_of_its_own_that_only_leads_to_its_server(
    fabric: Fabric, nodes: list[Node]
):
    async with lab(fabric, nodes) as core, hub_over(core, fabric) as hub:
        for user in USERS[:2]:
            await hub.start_server(user)
        await asyncio.gather(*(hub.wait_ready(user) for user in USERS[:2]))
        addresses = [await hub.address(user) for user in USERS[:2]]
        assert len(set(addresses)) == 2
        answers = [await fetch(fabric, f"{address}/") for address in addresses]
        assert answers == [await visit(hub, user) for user in USERS[:2]]
        await eventually(hub.healthy, "hub")
