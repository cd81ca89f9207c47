"""Where the core listens for a job's ports, and where these lead."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from skyport_core.jobs.attachment import Attachments
from skyport_core.jobs.ties import listen_candidates
from skyport_core.model import Job, JobKind, JobSpec, JobState
from skyport_core.settings import Settings
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_gates.gate import Node, SSHEndpoint

NOWHERE = Node("n1", SSHEndpoint("127.0.0.1", 1), "small", cpus=1, memory=1024)
SHARED = Settings(tunnel_address="127.0.0.1", tunnel_ports=(23000, 23009))


class Ground:
    """A site with one node, which does not answer."""

    async def find_node(self, site: str, node: str, partition: str | None) -> Node:
        return NOWHERE


def job(number: int = 3, **fields: Any) -> Job:
    now = dt.datetime.now(dt.timezone.utc)
    spec = JobSpec(command=("true",), **fields)
    place = {"site": "lab", "node": "n1", "username": "ann"}
    return Job(f"job{number}", "ann", spec, number, now, now, JobState.RUNNING, **place)


async def attached(folder: Path, settings: Settings) -> AsyncIterator[Attachments]:
    pool = ConnectionPool(SSHIdentity.load(folder))
    made = Attachments(pool, cast(Any, Ground()), settings, lambda _: None, lambda _: None)
    yield made
    await made.close_all()
    await pool.close()


@pytest.fixture
async def attachments(tmp_path: Path) -> AsyncIterator[Attachments]:
    async for made in attached(tmp_path, Settings()):
        yield made


@pytest.fixture
async def shared(tmp_path: Path) -> AsyncIterator[Attachments]:
    async for made in attached(tmp_path, SHARED):
        yield made


async def test_all_ports_of_a_job_are_at_its_own_address(attachments: Attachments) -> None:
    server = job(port=18888, ports=(18888, 18889))
    attachment = await attachments.get(server)
    assert await attachment.open_listener(server) == (server.core_address, 18888)
    assert await attachment.open_listener(server) == (server.core_address, 18888)
    listens = [(view.listen.host, view.listen.port) for view in attachments.tunnels("ann")]
    assert listens == [(server.core_address, 18888), (server.core_address, 18889)]
    assert attachments.tunnels("bob") == []


async def test_a_server_never_leads_to_what_others_have_on_its_node(
    attachments: Attachments,
) -> None:
    server, batch = job(1, port=18888, ports=(18889,)), job(2, kind=JobKind.BATCH, port=18888)
    for one in (server, batch):
        await (await attachments.get(one)).open_listener(one)
    first, second = await attachments.get(server), await attachments.get(batch)
    assert first.listener is not None and second.listener is not None
    assert first.listener.fallback is None
    assert first.more[18889].fallback == ("127.0.0.1", 18889)
    assert second.listener.fallback == ("127.0.0.1", 18888)


def test_further_ports_fill_a_shared_range_from_above() -> None:
    ports = [listen[1] for listen in listen_candidates(job(3), 80, 0, SHARED)]
    assert ports == [23006, 23005, 23004, 23003, 23002, 23001, 23000, 23009, 23008, 23007]
    assert listen_candidates(job(3), 80, 1, SHARED)[0][1] == 23005


async def test_a_further_port_takes_the_next_that_is_free(shared: Attachments) -> None:
    first, second = job(3, port=80, ports=(81,)), job(13, ports=(81, 82))
    for one in (first, second):
        await (await shared.get(one)).open_listener(one)
    listens = {view.listen.port for view in shared.tunnels(None)}
    assert listens == {23003, 23006, 23005, 23004}
