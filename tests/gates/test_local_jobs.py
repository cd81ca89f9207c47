"""Real jobs of the core on the local gate's node."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from skyport_core.ssh.errors import NodeUnreachable
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.runner import Runner, RunnerStatus, RunSpec
from skyport_gates.gate import GateContext
from skyport_gates.local import LocalGate
from skyport_gates.local_files import live_jobs, process_start
from tests.infra.wait import eventually


@pytest.fixture
def identity(tmp_path: Path) -> SSHIdentity:
    return SSHIdentity.load(tmp_path / "core")


@pytest.fixture
def context(tmp_path: Path, identity: SSHIdentity) -> GateContext:
    home = tmp_path / "gate"
    home.mkdir(mode=0o700)
    return GateContext("core-1", home, identity.user_ca)


@pytest.fixture
async def pool(identity: SSHIdentity) -> AsyncIterator[ConnectionPool]:
    connections = ConnectionPool(identity, log=logging.getLogger("test-pool"))
    yield connections
    await connections.close()


@pytest.fixture
async def runner(local: LocalGate, pool: ConnectionPool) -> AsyncIterator[Runner]:
    """A job that has been started and runs until it is stopped."""
    (node,) = await local.nodes()
    job = Runner(pool.get("local", node, "ann"), str(uuid.uuid4()))
    await job.stage(RunSpec(command=("sleep", "600")))
    assert (await job.start()).state == "running"
    yield job
    await job.stop(1)


async def test_the_server_knows_that_a_job_lives(runner: Runner, context: GateContext) -> None:
    homes = context.home / "homes"
    assert live_jobs(homes)
    await runner.stop(1)
    assert not live_jobs(homes)


async def test_a_job_outlives_the_server_and_is_reached_through_the_next_one(
    runner: Runner, context: GateContext
) -> None:
    pid = int((context.home / "pid").read_text().split()[0])
    before = await runner.status()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: process_start(pid) is None, "the server is dead")

    async def reached() -> RunnerStatus | None:
        try:
            return await runner.status()
        except NodeUnreachable:
            return None  # the loss was noticed only now, or the next server is not up yet

    assert await eventually(reached, "the job is reached again") == before


async def test_jupyterhub_singleuser_is_found(local: LocalGate, pool: ConnectionPool) -> None:
    (node,) = await local.nodes()
    answer = await pool.get("local", node, "ann").run(
        "command -v jupyterhub-singleuser", timeout=10
    )
    assert answer.stdout.decode().strip() == str(
        Path(sys.executable).parent / "jupyterhub-singleuser"
    )


async def test_an_idle_server_ends_after_its_last_job(
    make_local: Callable[..., LocalGate], pool: ConnectionPool, context: GateContext
) -> None:
    gate = make_local(idle_exit=0.2)
    await gate.start()
    (node,) = await gate.nodes()
    job = Runner(pool.get("local", node, "ann"), str(uuid.uuid4()))
    await job.stage(RunSpec(command=("sleep", "1")))
    await job.start()
    await pool.close()
    await gate.close(idle=False)
    pid = int((context.home / "pid").read_text().split()[0])
    await asyncio.sleep(0.5)  # more than idle_exit, less than the job takes
    assert process_start(pid) is not None
    await eventually(lambda: process_start(pid) is None, "the server has ended")
