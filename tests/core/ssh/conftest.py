"""A node (real sshd), an identity it trusts, and connections that are closed at the end."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from skyport_core.ssh.connection import NodeConnection
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.runner import Runner
from tests.infra.sshd import SSHD, start_sshd

StartNode = Callable[..., SSHD]


@pytest.fixture
def identity(tmp_path: Path) -> SSHIdentity:
    return SSHIdentity.load(tmp_path / "core")


@pytest.fixture
def start_node(tmp_path: Path, identity: SSHIdentity) -> Iterator[StartNode]:
    """Start a node with further sshd_config lines or a home of its own."""
    nodes: list[SSHD] = []

    def start(*lines: str, home: Path | None = None) -> SSHD:
        folder = tmp_path / f"node{len(nodes)}"
        nodes.append(start_sshd(folder, identity.user_ca, lines=lines, home=home))
        return nodes[-1]

    yield start
    for node in nodes:
        node.kill()


@pytest.fixture
def node(start_node: StartNode) -> SSHD:
    return start_node()


@pytest.fixture
async def pool(identity: SSHIdentity) -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(
        identity, connect_timeout=10, keepalive_interval=1, keepalive_count=2, reconnect_max=0.5
    )
    yield pool
    await pool.close()


@pytest.fixture
def connection(pool: ConnectionPool, node: SSHD) -> NodeConnection:
    return pool.get("lab", node.node(), node.username)


@pytest.fixture
async def new_runner(connection: NodeConnection) -> AsyncIterator[Callable[[], Runner]]:
    """Runners with fresh job ids; their jobs are stopped and removed at the end."""
    runners: list[Runner] = []

    def make() -> Runner:
        runners.append(Runner(connection, str(uuid.uuid4())))
        return runners[-1]

    yield make
    for runner in runners:
        await runner.stop(grace=0)
        await runner.remove()


@pytest.fixture
def runner(new_runner: Callable[[], Runner]) -> Runner:
    return new_runner()
