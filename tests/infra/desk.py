"""A real core over this machine's site, and short ways to say what a job is."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from skyport_core.client import CoreClient
from skyport_core.model import JobState
from skyport_core.wire import EventView, JobRequest, JobView
from tests.infra.core import CoreProcess
from tests.infra.wait import eventually

SERVER = 'exec python3 -m http.server --bind "$ADDRESS" "$PORT"'


@dataclass
class Desk:
    """One terminal of one core: submits jobs and waits for what becomes of them."""

    core: CoreProcess
    client: CoreClient

    async def submit(self, *command: str, job_id: str | None = None, **fields: Any) -> str:
        """Submit a batch job, or with ``port`` a server; the id."""
        kind = "server" if "port" in fields else "batch"
        request = JobRequest(**{"kind": kind, "owner": "ann", "command": command, **fields})
        job_id = job_id or str(uuid.uuid4())
        await self.client.put_job(job_id, request, wait=10)
        return job_id

    async def serve(self, script: str = SERVER, **fields: Any) -> str:
        """Submit a small HTTP server on the job's own address."""
        templates = {"ADDRESS": "{address}", "PORT": "{port}"}
        defaults = {"port": 8888, "probe": {"path": "/"}, "environment_templates": templates}
        return await self.submit("sh", "-c", script, **{**defaults, **fields})

    async def job(self, job_id: str) -> JobView:
        """The job now."""
        job = await self.client.get_job(job_id, wait=10)
        assert job is not None
        return job

    async def reach(self, job_id: str, *states: JobState, timeout: float = 20) -> JobView:
        """Wait until the job is in one of ``states``."""

        async def there() -> JobView | None:
            job = await self.job(job_id)
            return job if job.state in states else None

        names = "/".join(state.value for state in states)
        return await eventually(there, f"job {job_id} in {names}", timeout)

    async def end(self, job_id: str, timeout: float = 20) -> JobView:
        """Wait for the job's end."""
        finals = (JobState.FINISHED, JobState.FAILED, JobState.CANCELLED)
        return await self.reach(job_id, *finals, timeout=timeout)

    async def events(self, job_id: str) -> list[EventView]:
        """The events so far."""
        return [event async for event in self.client.events(job_id, follow=False)]

    async def log(self, job_id: str, stream: str = "stdout") -> str:
        """The job's output."""
        return (await self.client.log(job_id, stream=stream)).data.decode()


OpenDesk = Callable[..., Awaitable[Desk]]


@asynccontextmanager
async def opened(config: str = "", **options: Any) -> AsyncIterator[Desk]:
    """A core that runs within the context; ``options`` are those of CoreProcess."""
    core = CoreProcess(config, **options)
    await core.start()
    client = core.client()
    try:
        yield Desk(core, client)
    finally:
        await client.close()
        await core.close()


@pytest.fixture
async def open_desk() -> AsyncIterator[OpenDesk]:
    """Starts cores, ``await open_desk(config, **options)``; all end with the test."""
    async with AsyncExitStack() as stack:

        async def start(config: str = "", **options: Any) -> Desk:
            return await stack.enter_async_context(opened(config, **options))

        yield start


@pytest.fixture
async def desk(open_desk: OpenDesk) -> Desk:
    """A core with the embedded defaults."""
    return await open_desk("c.SkyPortCore.stop_grace = 0.5")
