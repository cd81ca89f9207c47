"""Steps of partitions that should sleep, and do not."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest
from cryptography.fernet import Fernet

from skyport_core.model import PartitionRecord, PartitionState
from skyport_core.partitions.steps import SLEEPLESS, Steps
from skyport_core.settings import Settings
from skyport_core.sites import Sites
from skyport_core.store import Store
from skyport_gates.gate import (
    GateError,
    GateUnavailable,
    Partition,
    PartitionNotFound,
    PartitionStatus,
    Suspend,
)

LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)


class Watchful:
    """A gate that shows its only partition as the test says."""

    status = PartitionStatus.READY

    async def get(self, name: str) -> Partition:
        error = GateError("It broke") if self.status is PartitionStatus.FAILED else None
        return Partition(name, self.status, (), error)


class Sleepy(Watchful, Suspend):
    """One that may refuse to let it sleep."""

    trouble: GateError | None = None

    async def suspend(self, name: str) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def resume(self, name: str) -> None:
        raise NotImplementedError


class OneSite:
    """A site whose gate is asked directly."""

    def __init__(self, gate: Watchful) -> None:
        self.gates = {"azure": gate}

    async def call(self, site: str, call: Coroutine[Any, Any, Any]) -> Any:
        return await call


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    yield store
    await store.close()


def steps(store: Store, gate: Watchful, home: Path) -> Steps:
    return Steps(
        store,
        cast(Sites, OneSite(gate)),
        Settings(partition_timeout=60),
        core_id="core",
        user_ca="",
        home=home,
        wake_job=lambda job: None,
        interrupt_job=lambda job: None,
        log=logging.getLogger("test"),
    )


async def falling_asleep(
    store: Store, since: dt.datetime = LONG_AGO, state: PartitionState = PartitionState.SUSPENDING
) -> PartitionRecord:
    record = PartitionRecord("p1", "azure", "job", "ann", "small", since, since, keep="box")
    await store.put_partition(record)
    return await store.update_partition(
        record, now=since, state=state, target=PartitionState.SUSPENDED, deadline=since
    )


async def stored(store: Store) -> PartitionRecord:
    record = await store.get_partition("p1")
    assert record is not None
    return record


async def test_machine_that_its_site_deleted_is_recognised_as_gone(
    store: Store, tmp_path: Path
) -> None:
    gate = Sleepy()
    gate.status, gate.trouble = PartitionStatus.FAILED, PartitionNotFound("There is no such one")
    await steps(store, gate, tmp_path).sleep(await falling_asleep(store))
    record = await stored(store)
    assert (record.target, record.reason) == (PartitionState.DELETED, "lost")


async def test_machine_that_cannot_sleep_is_told_until_it_does(
    store: Store, tmp_path: Path
) -> None:
    gate = Sleepy()
    gate.trouble = GateUnavailable("Azure is away")
    with pytest.raises(GateUnavailable):
        await steps(store, gate, tmp_path).sleep(await falling_asleep(store))
    awake = await stored(store)
    assert awake.reason == SLEEPLESS
    assert awake.error == "It could not be put to sleep and is still billed: Azure is away"
    gate.status = PartitionStatus.SUSPENDED
    await steps(store, gate, tmp_path).sleep(awake)
    asleep = await stored(store)
    assert (asleep.state, asleep.reason, asleep.error) == (PartitionState.SUSPENDED, "", "")


async def test_machine_that_accepts_its_sleep_but_stays_awake_is_told(
    store: Store, tmp_path: Path
) -> None:
    await steps(store, Sleepy(), tmp_path).sleep(await falling_asleep(store))
    assert "azure does not show it asleep" in (await stored(store)).error


async def test_machine_that_may_still_fall_asleep_is_not_told(store: Store, tmp_path: Path) -> None:
    now = dt.datetime.now(dt.timezone.utc)
    await steps(store, Sleepy(), tmp_path).sleep(await falling_asleep(store, now))
    assert (await stored(store)).reason == ""


async def test_sleep_ends_by_age_although_the_site_lets_none_sleep_any_more(
    store: Store, tmp_path: Path
) -> None:
    gate = Watchful()
    gate.status = PartitionStatus.SUSPENDED
    record = await falling_asleep(store, state=PartitionState.SUSPENDED)
    await steps(store, gate, tmp_path).sleep(record)
    assert (await stored(store)).target is PartitionState.DELETED
