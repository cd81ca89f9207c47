"""What the end-to-end tests do again and again."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Iterable, Sequence

import aiohttp

from skyport_core.client import CoreClient
from skyport_core.model import JobKind, JobState
from skyport_core.wire import JobRequest, JobView
from tests.infra.core import CoreProcess
from tests.infra.hub import Hub
from tests.infra.lab import TINY, hub_config, lab_config
from tests.infra.nodes import Fabric, Node
from tests.infra.wait import eventually


@contextlib.asynccontextmanager
async def lab(
    fabric: Fabric, nodes: Iterable[Node], *, fault: str | None = None, **options: object
) -> AsyncIterator[CoreProcess]:
    """A core over the nodes, which trust it."""
    nodes = list(nodes)
    core = CoreProcess(lab_config(nodes, **options), fabric=fabric, fault=fault)
    for node in nodes:
        node.trust(core.user_ca)
    async with core:
        yield core


@contextlib.asynccontextmanager
async def hub_over(
    core: CoreProcess, fabric: Fabric, command: Sequence[str] = TINY, **options: object
) -> AsyncIterator[Hub]:
    """A hub whose servers run ``command`` through the core."""
    async with Hub(hub_config(core, command, **options), fabric=fabric) as hub:
        yield hub


def batch(script: str, **fields: object) -> JobRequest:
    """A job of alice that runs a shell script to its end."""
    return JobRequest.model_validate(
        {"kind": JobKind.BATCH, "owner": "alice", "command": ["sh", "-c", script], **fields}
    )


def server(command: Sequence[str] = TINY, **fields: object) -> JobRequest:
    """A job of alice that serves HTTP on port 8888 of its own address."""
    return JobRequest.model_validate(
        {
            "owner": "alice",
            "command": list(command),
            "port": 8888,
            "probe": {"path": "/"},
            "environment_templates": {"SERVER_URL": "http://{address}:{port}/"},
            **fields,
        }
    )


async def submit(client: CoreClient, request: JobRequest) -> str:
    """Submit under a new id, which is returned."""
    job_id = str(uuid.uuid4())
    await client.put_job(job_id, request, wait=30)
    return job_id


async def job(client: CoreClient, job_id: str) -> JobView:
    """The job as it is now."""
    found = await client.get_job(job_id, wait=30)
    assert found is not None
    return found


async def reach(
    client: CoreClient, job_id: str, *states: JobState, timeout: float = 30.0
) -> JobView:
    """Wait until the job is in one of the states; AssertionError if it ended in another."""

    async def there() -> JobView | None:
        found = await job(client, job_id)
        assert found.state in states or not found.state.final, f"{found.state}: {found.failure}"
        return found if found.state in states else None

    return await eventually(there, f"job in {[state.value for state in states]}", timeout)


async def ended(client: CoreClient, job_id: str, timeout: float = 30.0) -> JobView:
    """Wait for the job's end, whichever."""
    final = [state for state in JobState if state.final]
    return await reach(client, job_id, *final, timeout=timeout)


async def fetch(fabric: Fabric, url: str, timeout: float = 10.0) -> str:
    """GET a URL at the hub's side; the text of its answer."""
    limit = aiohttp.ClientTimeout(total=timeout)
    async with (
        aiohttp.ClientSession(connector=fabric.connector(), timeout=limit) as session,
        session.get(url) as answer,
    ):
        answer.raise_for_status()
        return (await answer.text()).strip()


async def answer_of(fabric: Fabric, view: JobView, timeout: float = 10.0) -> str:
    """What the tiny server of a job answers through its tunnel: "node pid start"."""
    assert view.address is not None
    return await fetch(fabric, f"http://{view.address.host}:{view.address.port}/", timeout)


async def visit(hub: Hub, user: str) -> str:
    """What a user's tiny server answers through the hub's proxy."""
    async with hub.session.get(f"{hub.url}/user/{user}/") as answer:
        answer.raise_for_status()
        return (await answer.text()).strip()


def starts(node: Node, user: str = "alice") -> int:
    """How often the tiny server was started by that user on that node."""
    return len(node.read(f"/home/{user}/starts").split())


def left_on(node: Node) -> list[str]:
    """Processes of users and folders of jobs that are on a node."""
    folders = node.run(["sh", "-c", "ls -d /home/*/.skyport/jobs/* 2>/dev/null"], check=False)
    return node.user_processes() + folders.stdout.split()


async def clean(nodes: Iterable[Node]) -> None:
    """Wait until nothing of any job is left on the nodes."""
    for node in nodes:
        await eventually(lambda node=node: not left_on(node), f"{node.name} without leftovers")
