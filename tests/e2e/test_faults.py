"""Core, hub, sshd, cable or node die in the middle of it: no job is lost, none runs twice."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator

import pytest

from skyport_core.model import JobState
from tests.e2e.steps import (
    answer_of,
    batch,
    clean,
    ended,
    hub_over,
    job,
    lab,
    reach,
    server,
    starts,
    submit,
    visit,
)
from tests.infra.lab import NOTEBOOK, TINY
from tests.infra.nodes import Fabric, Node
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes

LIFE = [state.value for state in JobState if not state.final] + ["FINISHED"]
FAULTS = [f"{when}:{state}" for state in LIFE for when in ("before", "after")]
PENDING_FAULTS = ["after:QUEUED", "after:ALLOCATING", "after:STAGING", "before:RUNNING"]


@pytest.fixture(autouse=True)
def whole_node(node: Node) -> Iterator[None]:
    """No traces of the test before, and afterwards a node that is up and reachable."""
    node.run(["sh", "-c", "rm -rf /home/*/starts /home/*/runs /home/*/go"])
    yield
    node.drop(False)
    node.link(True)
    if not node.up:
        node.boot()


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_core_killed_at_any_change_runs_the_job_once_and_to_its_end(
    fabric: Fabric, node: Node, fault: str
):
    async with lab(fabric, [node], fault=fault) as core, core.client() as client:
        job_id = str(uuid.uuid4())
        request = batch("echo run >> ~/runs; echo out")
        putting = asyncio.create_task(client.put_job(job_id, request, wait=30))
        await core.wait_fault()
        await core.start()
        await putting
        final = await ended(client, job_id)
        assert final.state is JobState.FINISHED
        assert node.read("/home/alice/runs") == "run\n"
        assert (await client.log(job_id)).data == b"out\n"
        await clean([node])


@pytest.mark.parametrize("fault", ["before:COLLECTING", "after:COLLECTING", "before:CANCELLED"])
async def test_a_core_killed_while_it_cancels_ends_the_job_after_its_restart(
    fabric: Fabric, node: Node, fault: str
):
    async with lab(fabric, [node], fault=fault) as core, core.client() as client:
        job_id = await submit(client, batch("sleep 600"))
        await reach(client, job_id, JobState.RUNNING)
        await client.delete_job(job_id, wait=30)
        await core.wait_fault()
        await core.start()
        assert (await ended(client, job_id)).state is JobState.CANCELLED
        await clean([node])


@pytest.mark.parametrize("fault", PENDING_FAULTS)
async def test_a_core_killed_during_a_start_delays_it_only(fabric: Fabric, node: Node, fault: str):
    async with lab(fabric, [node], fault=fault) as core, hub_over(core, fabric) as hub:
        await hub.start_server("alice")
        await core.wait_fault()
        await core.start()
        await hub.wait_ready("alice")
        assert starts(node) == 1


@pytest.mark.parametrize("fault", PENDING_FAULTS)
async def test_hub_and_core_killed_during_a_start_finish_it_once_they_are_back(
    fabric: Fabric, node: Node, fault: str
):
    async with lab(fabric, [node], fault=fault) as core, hub_over(core, fabric) as hub:
        await hub.start_server("alice")
        await core.wait_fault()
        await hub.kill9()
        await core.start()
        await hub.start()
        await eventually(lambda: ready(hub, "alice"), "alice's server", 30)
        assert (await visit(hub, "alice")).startswith(node.name)
        assert starts(node) == 1


@pytest.mark.parametrize(
    "fault", ["hold:ALLOCATING", "hold:STAGING", "hold:STARTING", "hold:RUNNING"]
)
async def test_a_hub_killed_in_any_state_of_a_start_takes_it_up_again(
    fabric: Fabric, node: Node, fault: str
):
    async with (
        lab(fabric, [node], fault=fault) as core,
        hub_over(core, fabric) as hub,
        core.client() as client,
    ):
        await hub.start_server("alice")
        await core.wait_hold()
        await hub.kill9()
        starting = asyncio.create_task(hub.start())
        core.let_go()
        await starting
        await eventually(lambda: ready(hub, "alice"), "alice's server", 30)
        assert (await visit(hub, "alice")).startswith(node.name)
        assert starts(node) == 1
        assert len(await client.list_jobs(owner="alice")) == 1


@pytest.mark.parametrize("both", [False, True], ids=["hub", "hub and core"])
async def test_a_hub_killed_during_a_stop_does_not_stop_the_stop(
    fabric: Fabric, node: Node, both: bool
):
    async with (
        lab(fabric, [node], fault="hold:CANCELLED") as core,
        hub_over(core, fabric) as hub,
        core.client() as client,
    ):
        await hub.start_server("alice")
        await hub.wait_ready("alice")
        stopping = asyncio.create_task(hub.stop_server("alice"))
        await core.wait_hold()
        await hub.kill9()
        if both:
            await core.kill9()
        stopping.cancel()
        await asyncio.gather(stopping, return_exceptions=True)
        core.let_go()
        if both:
            await core.start()
        await hub.start()
        [view] = await client.list_jobs(owner="alice")
        assert (await ended(client, view.id)).state is JobState.CANCELLED
        await eventually(lambda: gone(hub, "alice"), "end of alice's server at the hub", 30)
        await clean([node])


async def test_a_hub_killed_during_a_start_finds_the_server_when_it_is_back(
    fabric: Fabric, node: Node
):
    command = [*TINY, "--wait", "/home/alice/go"]
    async with (
        lab(fabric, [node]) as core,
        hub_over(core, fabric, command) as hub,
        core.client() as client,
    ):
        await hub.start_server("alice")
        await eventually(lambda: starts(node), "start of the server")
        await hub.kill9()
        starting = asyncio.create_task(hub.start())
        node.run(["touch", "/home/alice/go"])
        await starting
        await eventually(lambda: ready(hub, "alice"), "alice's server", 30)
        assert starts(node) == 1
        assert len(await client.list_jobs(owner="alice")) == 1


async def test_a_cancel_during_an_outage_of_the_core_is_made_good(fabric: Fabric, node: Node):
    async with (
        lab(fabric, [node]) as core,
        hub_over(core, fabric, stop_timeout=2) as hub,
        core.client() as client,
    ):
        await hub.start_server("alice")
        await hub.wait_ready("alice")
        await core.kill9()
        await hub.stop_server("alice")
        assert node.user_processes("alice")
        await core.start()
        [view] = await client.list_jobs(owner="alice")
        assert (await ended(client, view.id)).state is JobState.CANCELLED
        await clean([node])


@pytest.mark.parametrize("both", [False, True], ids=["hub", "hub and core"])
async def test_kernels_and_addresses_outlive_hub_and_core(fabric: Fabric, node: Node, both: bool):
    async with lab(fabric, [node]) as core, hub_over(core, fabric, NOTEBOOK) as hub:
        await hub.start_server("alice")
        await hub.wait_ready("alice")
        kernel = await hub.kernel("alice")
        await kernel.execute("x = 41")
        address = await hub.address("alice")
        await hub.kill9()
        hub.kill_proxy()
        if both:
            await core.kill9()
            await core.start()
        await hub.start()
        await eventually(lambda: ready(hub, "alice"), "alice's server", 30)
        assert await kernel.execute("x + 1") == "42"
        assert await hub.address("alice") == address


async def test_connections_wait_for_a_cut_cable_and_go_on(fabric: Fabric, node: Node):
    async with lab(fabric, [node]) as core, core.client() as client:
        view = await reach(client, await submit(client, server()), JobState.RUNNING)
        before = await answer_of(fabric, view)
        node.link(False)
        waiting = asyncio.create_task(answer_of(fabric, view, timeout=60))
        done, _ = await asyncio.wait({waiting}, timeout=8)
        assert not done
        node.link(True)
        assert await waiting == before
        assert (await job(client, view.id)).address == view.address


async def test_a_killed_sshd_disturbs_no_job(fabric: Fabric, node: Node):
    async with lab(fabric, [node]) as core, core.client() as client:
        view = await reach(client, await submit(client, server()), JobState.RUNNING)
        before = await answer_of(fabric, view)
        node.kill_sshd()
        node.start_sshd()
        assert await answer_of(fabric, view, timeout=30) == before
        assert (await job(client, view.id)).state is JobState.RUNNING


async def test_a_job_that_ends_while_its_node_is_cut_off_is_found_ended(fabric: Fabric, node: Node):
    async with lab(fabric, [node]) as core, core.client() as client:
        script = "until [ -e ~/go ]; do sleep 0.1; done; exit 3"
        job_id = await submit(client, batch(script))
        await reach(client, job_id, JobState.RUNNING)
        node.drop(True)
        node.run(["touch", "/home/alice/go"])
        await eventually(lambda: script not in str(node.user_processes()), "end of the job")
        node.drop(False)
        final = await ended(client, job_id)
        assert (final.state, final.exit_code) == (JobState.FAILED, 3)


async def test_a_node_cut_off_for_good_fails_its_job_in_time_and_is_cleaned_when_back(
    fabric: Fabric, node: Node
):
    async with lab(fabric, [node], node_lost_timeout=4) as core, core.client() as client:
        view = await reach(client, await submit(client, server()), JobState.RUNNING)
        node.drop(True)
        cut = time.monotonic()
        final = await ended(client, view.id)
        assert time.monotonic() - cut < 15
        assert final.state is JobState.FAILED
        assert final.failure is not None
        assert final.failure.reason == "node_lost"
        assert node.name in final.failure.message
        [seen] = await client.nodes()
        assert seen.free_cpus == 4
        assert node.user_processes("alice")
        node.drop(False)
        await eventually(lambda: not core.unfinished(), "cleaning up", 30)
        await clean([node])


async def test_a_node_that_reboots_fails_its_job_with_that_reason(fabric: Fabric, node: Node):
    async with lab(fabric, [node]) as core, core.client() as client:
        view = await reach(client, await submit(client, server()), JobState.RUNNING)
        node.crash()
        node.boot()
        final = await ended(client, view.id)
        assert final.state is JobState.FAILED
        assert final.failure is not None
        assert final.failure.reason == "job_lost"


async def test_a_powered_off_node_sends_queued_jobs_to_another(fabric: Fabric, node: Node):
    spare = fabric.add_node("spare")
    async with lab(fabric, [node, spare], allocate_timeout=4) as core, core.client() as client:
        await eventually(client.nodes, "the site's nodes")
        await client.drain("lab", "spare", "kept for later")
        node.poweroff()
        job_id = await submit(client, batch("hostname"))
        await client.resume("lab", "spare")
        final = await ended(client, job_id)
        assert (final.state, final.node) == (JobState.FINISHED, "spare")


async def ready(hub, user: str) -> bool:
    """Whether the hub says that the user's server is ready."""
    model = await hub.server(user)
    return bool(model and model["ready"])


async def gone(hub, user: str) -> bool:
    """Whether the hub has no server of the user."""
    return await hub.server(user) is None
