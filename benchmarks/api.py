"""Submissions and lists: Sky Port's REST API against JupyterHub's own and against sbatch.

A core with 10,000 jobs stored, a JupyterHub and a Slurm run side by side on one machine; they are
asked in turns. The jobs that are submitted can not start, so that only their taking in is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from functools import partial

import aiohttp

from benchmarks.api_store import fill
from benchmarks.report import (
    Result,
    Series,
    argument_parser,
    compare,
    end_tidily,
    median_ratio,
    publish,
)
from tests.infra.core import CoreProcess
from tests.infra.hub import Hub
from tests.infra.slurm import Slurm

OURS, WATCHED = "skyport", "skyport, watched"
HUB, SBATCH = "JupyterHub", "sbatch"

STORED, LISTENERS = 10_000, 200
SIDE_BY_SIDE = 8
"""Requests, or sbatch processes, that are under way at a time."""

PAGE = 100
"""Jobs, or users, in a list."""

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

TIMEOUT = aiohttp.ClientTimeout(total=120)
SCRIPT = "#!/bin/sh\nsleep 1\n"

_CONFIG = """
c.SkyPortCore.gates = {"full": "benchmarks.api_gate:FullSite"}
"""

Ask = Callable[[], Awaitable[object]]


async def all_of(asked: Iterable[Ask]) -> None:
    """Ask, :data:`SIDE_BY_SIDE` at a time."""
    rest = iter(asked)

    async def worker() -> None:
        for ask in rest:
            await ask()

    await asyncio.gather(*(worker() for _ in range(SIDE_BY_SIDE)))


async def rate(ask: Ask, count: int) -> float:
    """Answers per second of ``count`` requests."""
    begin = time.perf_counter()
    await all_of(itertools.repeat(ask, count))
    return count / (time.perf_counter() - begin)


class Core:
    """Sky Port: one connection a worker, as the spawner has them."""

    def __init__(self, process: CoreProcess, session: aiohttp.ClientSession, page: int) -> None:
        self.process = process
        self._session = session
        self._page = page

    async def submit(self) -> None:
        """One batch job with a script."""
        body = json.dumps({"kind": "batch", "script": SCRIPT, "cpus": 1})
        await self._answer("PUT", f"/jobs/{uuid.uuid4()}", body)

    async def list(self) -> None:
        """A page of jobs."""
        found = json.loads(await self._answer("GET", f"/jobs?limit={self._page}"))["jobs"]
        if len(found) != self._page:
            raise RuntimeError(f"The core lists {len(found)} jobs instead of {self._page}")

    async def _answer(self, method: str, path: str, body: str | None = None) -> bytes:
        headers = {} if body is None else {"Content-Type": "application/json"}
        url = f"http://core/api/v1{path}"
        async with self._session.request(method, url, data=body, headers=headers) as response:
            text = await response.read()
        if response.status >= 300:
            raise RuntimeError(f"{method} {path}: {response.status} {text.decode()}")
        return text

    async def clear(self) -> None:
        """Have all that was submitted end, so that each round begins with the same queue."""
        while True:
            queue = json.loads(await self._answer("GET", "/jobs?state=QUEUED&limit=1000"))["jobs"]
            if not queue:
                return
            await all_of(partial(self._answer, "DELETE", f"/jobs/{job['id']}") for job in queue)
            await asyncio.sleep(0.5)

    @contextlib.asynccontextmanager
    async def listeners(self, count: int) -> AsyncIterator[None]:
        """Streams of events that stay open, each of another job that waits."""
        async with contextlib.AsyncExitStack() as stack:
            client = await stack.enter_async_context(self.process.client())
            ids = [str(uuid.uuid4()) for _ in range(count)]
            body = json.dumps({"kind": "batch", "script": SCRIPT, "cpus": 1})
            for each in ids:
                await self._answer("PUT", f"/jobs/{each}", body)
            heard = [asyncio.Event() for _ in ids]

            async def listen(job: str, first: asyncio.Event) -> None:
                async with aclosing(client.events(job)) as events:
                    async for _ in events:
                        first.set()

            tasks = [asyncio.create_task(listen(*pair)) for pair in zip(ids, heard, strict=True)]
            try:
                await asyncio.gather(*(first.wait() for first in heard))
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)


class HubAPI:
    """JupyterHub: users are to it what jobs are to us."""

    def __init__(self, hub: Hub, session: aiohttp.ClientSession, page: int) -> None:
        self._page = page
        self._url = f"{hub._api}/users"
        self._session = session
        self._headers = {"Authorization": f"token {hub.token}"}
        self._names = (f"user{number}" for number in itertools.count())

    async def create(self) -> None:
        """One user by ``POST /users``."""
        body = {"usernames": [next(self._names)]}
        async with self._session.post(self._url, json=body, headers=self._headers) as response:
            if response.status != 201:
                raise RuntimeError(f"POST /users: {response.status} {await response.text()}")
            await response.read()

    async def list(self) -> None:
        """A page of users."""
        query = {"limit": str(self._page)}
        async with self._session.get(self._url, params=query, headers=self._headers) as response:
            found = json.loads(await response.read())
        if len(found) != self._page:
            raise RuntimeError(f"The hub lists {len(found)} users instead of {self._page}")


async def _as_by_default(slurm: Slurm) -> None:
    """Have Slurm schedule when it would by itself; the tests have it at each submission."""
    file = slurm.home / "slurm.conf"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if not line.startswith("SchedulerParameters")))
    await slurm.call("scontrol", "reconfigure")


@contextlib.asynccontextmanager
async def subjects(stored: int, page: int) -> AsyncIterator[tuple[Core, HubAPI, Slurm]]:
    """All three, running; nothing is left of them afterwards."""
    async with contextlib.AsyncExitStack() as stack:
        process = CoreProcess(_CONFIG)
        await fill(process.home, stored)
        await stack.enter_async_context(process)
        over_socket = aiohttp.UnixConnector(str(process.socket), limit=0)
        over_tcp = aiohttp.TCPConnector(limit=0)
        sessions = [
            await stack.enter_async_context(aiohttp.ClientSession(connector=each, timeout=TIMEOUT))
            for each in (over_socket, over_tcp)
        ]
        hub = await stack.enter_async_context(Hub())
        slurm = await stack.enter_async_context(Slurm())
        await _as_by_default(slurm)
        await slurm.call("scontrol", "update", "NodeName=c1", "State=DRAIN", "Reason=benchmark")
        yield Core(process, sessions[0], page), HubAPI(hub, sessions[1], page), slurm


async def measure(rounds: int, count: int, stored: int, listeners: int, page: int) -> list[Series]:
    """Each subject in turns, after a round that does not count."""
    values: dict[tuple[str, str], list[float]] = {}

    async with subjects(stored, page) as (core, hub, slurm):

        async def sbatch() -> None:
            await slurm.call("sbatch", "--parsable", "--output=/dev/null", script=SCRIPT)

        async def note(subject: str, figure: str, ask: Ask, share: float = 1.0) -> None:
            found = await rate(ask, max(SIDE_BY_SIDE, int(count * share)))
            values.setdefault((subject, figure), []).append(found)

        for _ in range(rounds + 1):
            await note(OURS, "submit", core.submit)
            await core.clear()
            await note(HUB, "submit", hub.create, 0.5)
            await note(SBATCH, "submit", sbatch, 0.5)
            await slurm.call("scancel", "--state=PENDING", "--user=root")
            await note(OURS, "list", core.list)
            await note(HUB, "list", hub.list, 0.2)
            async with core.listeners(listeners):
                await note(WATCHED, "submit", core.submit)
                await note(WATCHED, "list", core.list)
            await core.clear()
    return [
        Series(subject, figure, "1/s", tuple(rates[1:]))
        for (subject, figure), rates in values.items()
    ]


def judge(series: list[Series]) -> list[Result]:
    """Submissions against five times the hub's and against sbatch's; lists against the hub's."""
    by = {(one.subject, one.figure): one for one in series}

    def against(name: str, ours: str, figure: str, peer: str, target: float) -> Result:
        pair = by[ours, figure], [by[peer, figure]]
        return compare(name, *pair, target, "higher", median_ratio)

    return [
        against("api_submit_hub", OURS, "submit", HUB, 5),
        against("api_submit_sbatch", OURS, "submit", SBATCH, 1),
        against("api_list_hub", OURS, "list", HUB, 1),
        against("api_submit_watched_hub", WATCHED, "submit", HUB, 5),
        against("api_submit_watched_sbatch", WATCHED, "submit", SBATCH, 1),
        against("api_list_watched_hub", WATCHED, "list", HUB, 1),
    ]


def check_slurm() -> None:
    """End with words where no Slurm can be run."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        raise SystemExit(
            f"Not found: {', '.join(missing)}. Install Debian's packages munge and slurm-wlm."
        )
    if os.geteuid() != 0:
        raise SystemExit("Run this as root: munged and slurmctld change to users of their own.")


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=1000, help="submissions in a round")
    parser.add_argument("--stored", type=int, default=STORED, help="jobs that are stored before")
    parser.add_argument("--listeners", type=int, default=LISTENERS)
    parser.add_argument("--page", type=int, default=PAGE, help="jobs and users in a list")
    given = parser.parse_args(arguments)
    end_tidily()
    check_slurm()
    sizes = given.count, given.stored, given.listeners, given.page
    series = asyncio.run(measure(given.rounds, *sizes))
    publish(series, judge(series), given.json)


if __name__ == "__main__":
    main()
