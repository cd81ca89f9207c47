"""The core in this process: that it starts whole or not at all, and ends whole."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest

from skyport_core.api import DoorError
from skyport_core.app import SkyPortCore
from skyport_core.core import Core
from skyport_core.jobs.placement import Placer
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.store import Store
from tests.infra.run import short_folder
from tests.infra.wait import eventually


@pytest.fixture
def app() -> Iterator[SkyPortCore]:
    """A core's configuration with a home of its own and no site."""
    with short_folder("core") as home:
        home.chmod(0o700)
        yield SkyPortCore(
            home=str(home), db_url=f"sqlite:///{home}/core.sqlite", socket_path=f"{home}/core.sock"
        )


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a core closes, in its order."""
    order: list[str] = []
    pool_close, store_close = ConnectionPool.close, Store.close

    async def close_pool(pool: ConnectionPool) -> None:
        await pool_close(pool)
        order.append("pool")

    async def close_store(store: Store) -> None:
        await store_close(store)
        order.append("store")

    monkeypatch.setattr(ConnectionPool, "close", close_pool)
    monkeypatch.setattr(Store, "close", close_store)
    return order


def parts() -> set[str]:
    return {task.get_name() for task in asyncio.all_tasks()} & {"sites", "placement", "reaper"}


async def test_a_start_that_fails_halfway_leaves_nothing_open(
    app: SkyPortCore, closed: list[str]
) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        app.https_address, app.https_port = taken.getsockname()
        core = app.make_core()
        with pytest.raises(DoorError, match="https_port"):
            await core.start()
    assert closed == ["pool", "store"]
    assert parts() == set()
    again = app.make_core()
    await again.start()
    await again.stop()


async def test_what_cannot_be_closed_keeps_nothing_else_open(
    app: SkyPortCore, closed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise OSError("stuck")

    monkeypatch.setattr("skyport_core.jobs.attachment.Attachments.close_all", fail)
    core = app.make_core()
    await core.start()
    assert parts()
    with pytest.raises(OSError, match="stuck"):
        await core.stop()
    assert closed == ["pool", "store"]
    assert parts() == set()


async def test_a_core_that_has_lost_a_part_says_so(
    app: SkyPortCore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(_: Placer) -> None:
        raise RuntimeError("no plan")

    monkeypatch.setattr(Placer, "run", fail)
    core: Core = app.make_core()
    core.log.propagate = True
    await core.start()
    try:

        async def status() -> bool:
            return (await core.health()).status == "degraded"

        await eventually(status, "its health says so")
        assert "part 'placement' has ended" in caplog.text
        assert "no plan" in caplog.text
    finally:
        await core.stop()
