"""A core over this machine and a hub over it, and what the tests do with them."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from skyport_core.wire import JobView
from tests.infra.core import CoreProcess
from tests.infra.hub import Hub
from tests.infra.lab import QUICK, TINY, hub_config
from tests.infra.wait import eventually

QUICK_HUB = """
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}
c.JupyterHub.init_spawners_timeout = 1
"""
# The hub answers a request for a server at once, as it does after 10 s for slow ones, and does not
# wait with its own start until it has found the servers of an earlier hub.

WAITING = [*TINY, "--wait", "go"]
"""A server that does not listen before ``let_go`` was called for its user."""


def local_config(*, cpus: float = 4, **options: object) -> str:
    """A core with this machine as its only site."""
    lines = [f'c.SkyPortCore.gates = {{"local": {{"class": "local", "cpus": {cpus!r}}}}}']
    lines += [f"c.SkyPortCore.{name} = {value!r}" for name, value in (QUICK | options).items()]
    return "\n".join(["c = get_config()", *lines, ""])


@contextlib.asynccontextmanager
async def hub_and_core(
    command: Sequence[str] = TINY, *, extra: str = "", cpus: float = 4, **options: object
) -> AsyncIterator[tuple[Hub, CoreProcess]]:
    """Both, with ``options`` as traits of the spawner and ``extra`` as more hub configuration."""
    async with (
        CoreProcess(local_config(cpus=cpus)) as core,
        Hub(hub_config(core, command, **options) + QUICK_HUB + extra) as hub,
    ):
        yield hub, core


def home_of(core: CoreProcess, user: str) -> Path:
    """A user's home folder at this machine's site."""
    return core.home / "gates/local/homes" / user


def let_go(core: CoreProcess, user: str) -> None:
    """Let the WAITING servers of a user listen."""
    (home_of(core, user) / "go").touch()


async def jobs_of(core: CoreProcess, user: str) -> list[JobView]:
    """All jobs that the core ever had for a user, the newest first."""
    async with core.client() as client:
        return await client.list_jobs(owner=user, wait=10)


async def only_job(core: CoreProcess, user: str) -> JobView:
    """The one job of a user, once there is one."""
    found = await eventually(lambda: jobs_of(core, user), f"a job of {user}")
    assert len(found) == 1
    return found[0]


async def until_state(core: CoreProcess, user: str, *states: str, timeout: float = 20) -> JobView:
    """The newest job of a user, once it is in one of these states."""

    async def there() -> JobView | None:
        jobs = await jobs_of(core, user)
        return jobs[0] if jobs and jobs[0].state.value in states else None

    return await eventually(there, f"{user}'s job in {' or '.join(states)}", timeout)


async def progress(hub: Hub, user: str, name: str = "") -> AsyncIterator[dict[str, Any]]:
    """Progress events as they come, through the proxy."""
    server = f"servers/{name}" if name else "server"
    url = f"{hub.url}/hub/api/users/{user}/{server}/progress"
    async with hub.session.get(url, timeout=aiohttp.ClientTimeout(total=60)) as answer:
        answer.raise_for_status()
        async for line in answer.content:
            if line.startswith(b"data:"):
                yield json.loads(line[5:])


async def until_ready(hub: Hub, user: str, name: str = "", timeout: float = 30) -> None:
    """Wait until a server is ready and the proxy knows it."""

    async def ready() -> bool:
        server = await hub.server(user, name)
        routes = await hub.api("GET", "/proxy")
        path = f"/user/{user}/{name}/" if name else f"/user/{user}/"
        return server is not None and bool(server["ready"]) and path in routes

    await eventually(ready, f"{user}'s server {name!r} ready", timeout)


def hub_rows(hub: Hub, query: str) -> list[tuple[object, ...]]:
    """Rows of the hub's own database."""
    with contextlib.closing(
        sqlite3.connect(f"file:{hub.home / 'hub.sqlite'}?mode=ro", uri=True)
    ) as database:
        return database.execute(query).fetchall()
