"""JupyterHub's ways to lose, forget or misreport a server, each with the spawner's answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

from tests.infra.wait import eventually
from tests.spawner.steps import (
    WAITING,
    hub_and_core,
    hub_rows,
    jobs_of,
    let_go,
    only_job,
    progress,
    until_ready,
    until_state,
)


async def collect(source: AsyncIterator[dict[str, Any]], events: list[dict[str, Any]]) -> None:
    async for event in source:
        events.append(event)


async def test_trap_a_a_start_that_is_cancelled_cancels_its_job():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")
        await hub.stop_server("ann")
        assert (await only_job(core, "ann")).state.value == "CANCELLED"


async def test_trap_b_a_server_in_the_queue_counts_as_running_and_is_stopped():
    async with hub_and_core(WAITING, cpus=1) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")
        await hub.start_server("ben")
        await until_state(core, "ben", "QUEUED")
        await hub.stop_server("ben")
        assert (await only_job(core, "ben")).state.value == "CANCELLED"


async def test_trap_c_a_start_that_takes_too_long_says_what_it_waited_for():
    async with hub_and_core(WAITING, start_timeout=4) as (hub, core):
        await hub.start_server("ann")
        events = [event async for event in progress(hub, "ann")]
        assert events[-1]["failed"]
        assert "not ready within 3.2 seconds" in str(events[-1]["message"])
        assert "STARTING: Starting the server" in str(events[-1]["message"])
        await until_state(core, "ann", "CANCELLED")
        assert "Traceback" not in hub.process.log.read_text()


async def test_trap_d_a_hub_killed_during_a_start_takes_the_start_up_again():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")
        await hub.kill9()
        starting = asyncio.create_task(hub.start())
        await starting
        let_go(core, "ann")
        job = await until_state(core, "ann", "RUNNING")

        await until_ready(hub, "ann")
        assert job.address is not None
        assert await hub.address("ann") == f"http://{job.address.host}:{job.address.port}"
        async with hub.session.get(f"{hub.url}/user/ann/") as answer:
            assert answer.status == 200
        assert len(await jobs_of(core, "ann")) == 1


async def test_trap_d_a_start_that_failed_while_the_hub_was_away_is_cleaned_up():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        job = await until_state(core, "ann", "STARTING")
        await hub.kill9()
        await core.stop()
        await hub.start()
        await core.start()
        async with core.client() as client:
            await client.delete_job(job.id)

        async def gone() -> bool:
            return await hub.server("ann") is None

        await eventually(gone, "the end of ann's server", 20)
        assert hub.process.running


async def test_trap_e_viewers_of_a_cancelled_start_are_not_told_that_it_is_ready():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")
        events: list[dict[str, Any]] = []
        viewer = asyncio.create_task(collect(progress(hub, "ann"), events))
        await eventually(lambda: events, "the first event")
        await hub.stop_server("ann")
        await asyncio.wait_for(viewer, 10)
        assert not any(event.get("ready") for event in events)
        assert events[-1]["failed"]
        assert events[-1]["message"] == "Spawn cancelled"


async def test_trap_f_a_stop_while_the_core_is_away_is_made_good_later():
    async with hub_and_core() as (hub, core):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        await core.stop()
        await hub.stop_server("ann")
        await core.start()
        await until_state(core, "ann", "CANCELLED")


async def test_trap_f_a_stop_while_the_core_is_away_is_made_good_by_the_next_hub():
    async with hub_and_core() as (hub, core):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        await core.stop()
        await hub.stop_server("ann")
        await hub.kill9()
        await core.start()
        assert (await only_job(core, "ann")).state.value == "RUNNING"
        await hub.start()
        # The first spawner that the hub makes, here by somebody's visit, takes the notes up.
        await hub.start_server("ben")
        await until_state(core, "ann", "CANCELLED")
        assert not list((core.home / "hub/pending-cancels").iterdir())


async def test_trap_g_a_hub_that_starts_before_the_core_keeps_the_servers():
    async with hub_and_core(extra="c.JupyterHub.init_spawners_timeout = 1\n") as (hub, core):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        address = await hub.address("ann")
        await hub.stop()
        await core.stop()
        await hub.start()
        await core.start()

        await until_ready(hub, "ann")
        assert await hub.address("ann") == address
        assert (await only_job(core, "ann")).state.value == "RUNNING"


async def test_trap_h_the_token_of_a_server_is_revoked_also_after_a_restart_of_the_hub():
    query = "select id from api_tokens where note = 'Server at /user/ann/'"
    async with hub_and_core() as (hub, core):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        assert len(hub_rows(hub, query)) == 1
        await hub.restart()
        assert len(hub_rows(hub, query)) == 1
        await hub.stop_server("ann")
        assert hub_rows(hub, query) == []
        assert (await only_job(core, "ann")).state.value == "CANCELLED"


async def test_trap_i_the_address_is_one_that_hub_and_proxy_can_reach():
    async with hub_and_core() as (hub, _):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        assert re.fullmatch(
            r"http://127\.(9[6-9]|1[01]\d|12[0-7])\.\d+\.\d+:8888", await hub.address("ann")
        )


async def test_trap_j_the_cancel_button_of_a_named_server_stops_that_server():
    named = "c.JupyterHub.allow_named_servers = True\n"
    async with hub_and_core(WAITING, extra=named) as (hub, core):
        await hub.start_server("ann", "gpu")
        await until_state(core, "ann", "STARTING")
        async for event in progress(hub, "ann", "gpu"):
            if button := re.search(r'data-url="([^"]+)"', str(event.get("html_message", ""))):
                break
        assert button is not None
        assert button[1] == "/hub/api/users/ann/servers/gpu"
        async with hub.session.delete(f"{hub.url}{button[1]}") as answer:
            assert answer.status in (202, 204)
        assert (await until_state(core, "ann", "CANCELLED")).name == "jupyter-gpu"
