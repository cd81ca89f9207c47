"""Listing and deleting partitions: whose they are, and which are in use."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from cryptography.fernet import Fernet

from skyport_core.model import JobState, PartitionRecord, PartitionState
from skyport_core.partitions.reconciler import PartitionReconciler
from skyport_core.partitions.service import Partitions
from skyport_core.service import ServiceError
from skyport_core.store import Store
from skyport_core.wire import JobRequest

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)


@dataclass
class Remover:
    """The one thing of the reconciler that is needed: it remembers what it was asked for."""

    removed: list[str] = field(default_factory=list)

    async def remove(self, name: str) -> None:
        self.removed.append(name)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    yield store
    await store.close()


@pytest.fixture
def remover() -> Remover:
    return Remover()


@pytest.fixture
def partitions(store: Store, remover: Remover) -> Partitions:
    return Partitions(store, cast(PartitionReconciler, remover))


async def record(store: Store, job_id: str = "gone", name: str = "p1") -> PartitionRecord:
    return await store.put_partition(
        PartitionRecord(name, "azure", job_id, "alice", "small", NOW, NOW, keep="desk")
    )


async def with_job(store: Store, partition: str | None = "p1") -> str:
    job_id = str(uuid.uuid4())
    job, _ = await store.put_job(job_id, "alice", JobRequest(command=("true",)), NOW)
    await store.update_job(job, state=JobState.RUNNING, partition=partition)
    await record(store, job_id)
    return job_id


async def test_what_nobody_uses_is_removed(
    store: Store, partitions: Partitions, remover: Remover
) -> None:
    await record(store)
    assert (await partitions.delete("p1", "alice")).name == "p1"
    assert remover.removed == ["p1"]


async def test_what_a_job_uses_stays(
    store: Store, partitions: Partitions, remover: Remover
) -> None:
    job_id = await with_job(store)
    with pytest.raises(ServiceError, match=f"in use by job {job_id}") as caught:
        await partitions.delete("p1", None)
    assert (caught.value.status, remover.removed) == (409, [])


async def test_what_a_job_is_just_getting_stays(store: Store, partitions: Partitions) -> None:
    await with_job(store, None)
    with pytest.raises(ServiceError):
        await partitions.delete("p1", None)


async def test_what_sleeps_although_a_job_waits_for_it_is_removed(
    store: Store, partitions: Partitions, remover: Remover
) -> None:
    await with_job(store, None)
    sleeping = await store.get_partition("p1")
    assert sleeping is not None
    await store.update_partition(sleeping, target=PartitionState.SUSPENDED)
    await partitions.delete("p1", "alice")
    assert remover.removed == ["p1"]


async def test_what_a_job_had_before_is_removed(
    store: Store, partitions: Partitions, remover: Remover
) -> None:
    await with_job(store, "p2")
    await partitions.delete("p1", "alice")
    assert remover.removed == ["p1"]


async def test_what_belongs_to_another_is_not_found(store: Store, partitions: Partitions) -> None:
    await record(store)
    for name, owner in (("p1", "bob"), ("p2", None)):
        with pytest.raises(KeyError):
            await partitions.delete(name, owner)


async def test_what_is_gone_stays_gone(
    store: Store, partitions: Partitions, remover: Remover
) -> None:
    await store.update_partition(await record(store), state=PartitionState.DELETED)
    assert (await partitions.delete("p1", None)).state is PartitionState.DELETED
    assert remover.removed == []
    assert await partitions.partitions("alice") == []


async def test_owners_see_their_own(store: Store, partitions: Partitions) -> None:
    await record(store)
    assert [view.keep for view in await partitions.partitions("alice")] == ["desk"]
    assert await partitions.partitions("bob") == []
    assert len(await partitions.partitions(None)) == 1
