"""Starts of a Jupyter server: Sky Port against JupyterHub's SimpleLocalProcessSpawner, in turns.

From ``POST /hub/api/users/:name/server`` to the ready event of the progress stream. Two hubs with
the same proxy (in Python) run side by side; while one starts a server, the other is idle. Sky Port
runs its server on this machine, the whole way over SSH.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping

from benchmarks.report import (
    Result,
    Series,
    argument_parser,
    compare,
    end_tidily,
    median_ratio,
    publish,
)
from tests.infra import run
from tests.infra.core import CoreProcess
from tests.infra.hub import Hub
from tests.infra.lab import NOTEBOOK, hub_config

OURS = "skyport"
PEER = "SimpleLocalProcessSpawner"
USER = "ada"
ARGUMENTS = ["--allow-root"]  # as root, Jupyter wants to be told that this is meant
START_TIMEOUT = 120.0

_PEER_CONFIG = f"""
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.cmd = {NOTEBOOK!r}
c.SimpleLocalProcessSpawner.args = {ARGUMENTS!r}
c.SimpleLocalProcessSpawner.home_dir_template = "{{home}}/{{{{username}}}}"
"""


@contextlib.asynccontextmanager
async def hubs() -> AsyncIterator[Mapping[str, Hub]]:
    """Both hubs, each with a user; nothing is left of them afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        core = await stack.enter_async_context(CoreProcess())
        ours = Hub(hub_config(core, NOTEBOOK, args=ARGUMENTS))
        homes = stack.enter_context(run.short_folder("homes"))
        peer = Hub(_PEER_CONFIG.format(home=homes))
        both = {OURS: ours, PEER: peer}
        for hub in both.values():
            await stack.enter_async_context(hub)
            await hub.add_user(USER)
        yield both


async def start(hub: Hub) -> float:
    """Start a server, and stop it again; the seconds until it was ready."""
    begin = time.perf_counter()
    await hub.api("POST", f"/users/{USER}/server")
    await hub.wait_ready(USER, timeout=START_TIMEOUT)
    seconds = time.perf_counter() - begin
    await hub.stop_server(USER)
    return seconds


async def measure(runs: int) -> list[Series]:
    """``runs`` starts of each, one after the other, after one that does not count."""
    async with hubs() as both:
        seconds: dict[str, list[float]] = {subject: [] for subject in both}
        for hub in both.values():
            await start(hub)
        for number in range(runs):
            order = list(both.items())
            for subject, hub in order if number % 2 == 0 else reversed(order):
                seconds[subject].append(await start(hub))
    return [Series(subject, "start", "s", tuple(values)) for subject, values in seconds.items()]


def judge(series: list[Series]) -> list[Result]:
    """The ratio of the medians against its target."""
    ours, peer = series
    return [compare("spawn_time", ours, [peer], 0.8, "lower", median_ratio)]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--runs", type=int, default=9, help="starts of each (9)")
    options = parser.parse_args(arguments)
    end_tidily()
    run.mark()
    series = asyncio.run(measure(options.runs))
    publish(series, judge(series), options.json)


if __name__ == "__main__":
    main()
