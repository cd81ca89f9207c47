"""Servers started through a real hub and a real core: what users and clients of the hub see."""

from __future__ import annotations

import asyncio
import json
import sys

import aiohttp
import psutil
import pytest
from jupyterhub.tests.utils import add_user
from pytest_jupyterhub.jupyterhub_spawners import (  # noqa: F401 (fixtures)
    configured_mockhub_instance,
    hub_app,
)

from skyport_spawner import SkyPortSpawner
from tests.infra.core import CoreProcess
from tests.infra.lab import NOTEBOOK, TINY
from tests.infra.wait import eventually
from tests.spawner.steps import (
    WAITING,
    home_of,
    hub_and_core,
    hub_rows,
    let_go,
    local_config,
    only_job,
    progress,
    until_ready,
    until_state,
)

REPORT = "import os, json; json.dump(dict(os.environ), open('env.json', 'w'))"


async def test_a_notebook_server_starts_runs_a_kernel_and_stops():
    async with hub_and_core([*NOTEBOOK, "--allow-root"], default_url="/lab") as (hub, core):
        await hub.start_server("ann")
        await hub.wait_ready("ann")
        async with hub.session.get(f"{hub.url}/user/ann/api/status") as answer:
            assert answer.status == 200
        await hub.stop_server("ann")
        assert (await only_job(core, "ann")).state.value == "CANCELLED"


async def test_every_viewer_sees_all_steps_and_the_percentage_never_falls():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")

        async def view(watching: asyncio.Event) -> list[dict[str, object]]:
            events = []
            async for event in progress(hub, "ann"):
                events.append(event)
                watching.set()
            return events

        watching = [asyncio.Event() for _ in range(2)]
        viewers = [asyncio.create_task(view(one)) for one in watching]
        await asyncio.gather(*(one.wait() for one in watching))
        let_go(core, "ann")
        for events in await asyncio.gather(*viewers):
            states = [event["state"] for event in events if "state" in event]
            assert states == ["QUEUED", "ALLOCATING", "STAGING", "STARTING", "RUNNING"]
            shown = [event["progress"] for event in events]
            assert shown == sorted(shown)
            assert events[-1]["ready"]


async def test_progress_goes_on_over_a_restart_of_the_core():
    async with hub_and_core(WAITING) as (hub, core):
        await hub.start_server("ann")
        await until_state(core, "ann", "STARTING")
        await core.restart()
        let_go(core, "ann")
        events = [event async for event in progress(hub, "ann")]
        assert events[-1]["ready"]


async def test_a_failed_start_shows_why_with_the_servers_last_words():
    command = [sys.executable, "-c", "raise SystemExit('<b>no licence</b>')"]
    async with hub_and_core(command) as (hub, _):
        await hub.start_server("ann")
        with pytest.raises(AssertionError) as caught:
            await hub.wait_ready("ann")
        event = caught.value.event  # type: ignore[attr-defined]
        assert "exit status 1" in event["message"]
        assert "&lt;b&gt;no licence&lt;/b&gt;</pre>" in event["html_message"]
        log = hub.process.log.read_text()
        assert "Unhandled error" not in log
        assert "Traceback" not in log


async def test_a_server_that_dies_is_noticed_with_its_exit_code():
    async with hub_and_core(poll_interval=1) as (hub, core):
        await hub.start_server("ann")
        await until_ready(hub, "ann")
        started = (home_of(core, "ann") / "starts").read_text().split()
        psutil.Process(int(started[-1])).kill()

        async def gone() -> bool:
            return await hub.server("ann") is None

        await eventually(gone, "the hub's notice of the end", 15)


async def test_options_of_a_rest_request_are_checked_and_reach_the_job():
    async with hub_and_core(max_cpus=2) as (hub, core):
        for options, message in (
            ({"cpus": 3}, "cpus=3 is not allowed: at most 2"),
            ({"ram": 1}, "no option 'ram'"),
            ({"memory": "much"}, "memory='much' is not valid"),
        ):
            await hub.start_server("ann", options=options)
            with pytest.raises(AssertionError, match=message.replace("'", ".")):
                await hub.wait_ready("ann")
        await hub.start_server("ann", options={"cpus": 0.5, "memory": "256M", "walltime": "1h"})
        await until_ready(hub, "ann")
        job = await only_job(core, "ann")
        assert (job.cpus, job.memory, job.walltime) == (0.5, 256, 3600)


async def test_an_admin_may_start_a_server_without_options():
    async with hub_and_core() as (hub, _):
        await hub.start_server("ann", options={})
        await until_ready(hub, "ann")


async def test_the_token_reaches_the_server_and_nothing_else():
    command = [
        sys.executable,
        "-c",
        f"{REPORT}; import runpy, sys; sys.argv = ['']; runpy.run_path({TINY[1]!r})",
    ]
    async with hub_and_core(command, environment={"COLOUR": "green"}) as (hub, core):
        await hub.start_server("ann")
        await until_ready(hub, "ann")
        env = json.loads((home_of(core, "ann") / "env.json").read_text())
        token = env["JUPYTERHUB_API_TOKEN"]
        assert env["COLOUR"] == "green"
        assert env["JUPYTERHUB_API_URL"].startswith("http://127.0.0.1:")
        async with (
            aiohttp.ClientSession(headers={"Authorization": f"token {token}"}) as session,
            session.get(f"{env['JUPYTERHUB_API_URL']}/user") as answer,
        ):
            assert (await answer.json())["name"] == "ann"
        arguments = [
            word for p in psutil.process_iter(["cmdline"]) for word in p.info["cmdline"] or ()
        ]
        assert not any(token in word for word in arguments)
        assert token not in hub.process.log.read_text()
        assert token not in core.process.log.read_text()
        assert token not in str(hub_rows(hub, "select state from spawners"))


async def test_a_core_that_is_away_fails_a_start_in_plain_words():
    async with hub_and_core(core_timeout=0.5) as (hub, core):
        await core.stop()
        await hub.start_server("ann")
        with pytest.raises(AssertionError, match="Sky Port does not answer now"):
            await hub.wait_ready("ann")
        await core.start()


async def test_a_start_waits_for_a_core_that_restarts():
    async with hub_and_core() as (hub, core):
        await core.stop()
        await hub.start_server("ann")
        await core.start()
        await until_ready(hub, "ann")


async def test_a_server_of_a_name_that_is_no_plain_word_works():
    async with hub_and_core(extra="c.JupyterHub.allow_named_servers = True\n") as (hub, core):
        await hub.start_server("ann@example.org", "my-gpu")
        await until_state(core, "ann@example.org", "RUNNING")
        assert (await only_job(core, "ann@example.org")).name.startswith("jupyter-my-gpu-")


async def test_hooks_and_group_overrides_of_the_hub_are_honoured():
    hooks = """
def before(spawner):
    spawner.environment["HOOKED"] = spawner.user.name
c.Spawner.pre_spawn_hook = before
c.JupyterHub.load_groups = {"big": {"users": ["ann"]}}
c.Spawner.group_overrides = {
    "big": {"groups": ["big"], "spawner_override": {"max_cpus": 4.0, "mem_limit": "300M"}}
}
"""
    async with hub_and_core(extra=hooks, max_cpus=1) as (hub, core):
        await hub.start_server("ann", options={"cpus": 3})
        await until_ready(hub, "ann")
        job = await only_job(core, "ann")
        assert (job.cpus, job.memory) == (3, 300)


async def test_the_usual_spawner_test_hub_starts_and_stops_a_server(hub_app, tmp_path):  # noqa: F811
    async with CoreProcess(local_config()) as core:
        app = await hub_app(
            config={
                "JupyterHub": {
                    "spawner_class": SkyPortSpawner,
                    "cookie_secret_file": str(tmp_path / "cookie_secret"),
                },
                "ConfigurableHTTPProxy": {
                    "command": [sys.executable, "-m", "skyport_spawner.proxy"],
                    "pid_file": str(tmp_path / "proxy.pid"),
                },
                "SkyPortSpawner": {"core_socket": str(core.socket), "cmd": TINY},
            }
        )
        user = add_user(app.db, app=app, name="ann")
        await user.spawn()
        assert user.spawner.ready
        assert await user.spawner.poll() is None
        await user.stop()
        await user.spawner.core_client.close()
        assert user.spawner.server is None
        await until_state(core, "ann", "CANCELLED")
