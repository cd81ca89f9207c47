"""Records of partitions, drained nodes and remembered texts."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace

import pytest

from skyport_core.model import PartitionRecord, PartitionState
from skyport_core.store import Conflict, Store
from tests.core.store.samples import LATER


def record(now: dt.datetime, name: str = "p1", site: str = "azure") -> PartitionRecord:
    return PartitionRecord(name, site, "job", "ada", "small", now, now, deadline=now + LATER)


async def test_a_record_comes_back(store: Store, now: dt.datetime) -> None:
    assert await store.put_partition(record(now)) == record(now)
    assert await store.get_partition("p1") == record(now)
    assert await store.get_partition("p2") is None


async def test_a_record_put_again_stays_as_it_is(store: Store, now: dt.datetime) -> None:
    first = await store.put_partition(record(now))
    changed = await store.update_partition(first, state=PartitionState.CREATING)
    assert await store.put_partition(record(now + LATER)) == changed


async def test_records_put_at_once_are_one(store: Store, now: dt.datetime) -> None:
    results = await asyncio.gather(*(store.put_partition(record(now)) for _ in range(5)))
    assert results == [record(now)] * 5
    assert await store.list_partitions() == [record(now)]


async def test_a_new_state_of_a_partition_says_since_when(store: Store, now: dt.datetime) -> None:
    first = await store.put_partition(record(now))
    changed = await store.update_partition(
        first,
        now=now + LATER,
        state=PartitionState.READY,
        target=PartitionState.DELETED,
        deadline=None,
        error="what \0",
    )
    assert changed.state_since == now + LATER and changed.version == 1
    stored = await store.get_partition("p1")
    assert stored is not None
    assert (stored.state, stored.target) == (PartitionState.READY, PartitionState.DELETED)
    assert (stored.deadline, stored.error) == (None, "what \ufffd")


async def test_a_change_of_an_outdated_record_is_a_conflict(store: Store, now: dt.datetime) -> None:
    first = await store.put_partition(record(now))
    await store.update_partition(first, error="x")
    with pytest.raises(Conflict, match="p1"):
        await store.update_partition(first, error="y")


async def test_active_partitions_are_those_not_known_to_be_gone(
    store: Store, now: dt.datetime
) -> None:
    for index, state in enumerate(PartitionState):
        put = await store.put_partition(record(now + index * LATER, state.value))
        await store.update_partition(put, state=state)
    names = [partition.name for partition in await store.list_partitions(active=True)]
    assert names == [
        *("REQUESTED", "CREATING", "READY", "SUSPENDING", "SUSPENDED", "DELETING"),
    ]
    assert len(await store.list_partitions()) == len(PartitionState)


async def test_partitions_of_a_site_and_of_a_job(store: Store, now: dt.datetime) -> None:
    one = await store.put_partition(record(now, "p1", "azure"))
    await store.put_partition(record(now, "p2", "slurm"))
    assert await store.list_partitions(site="azure") == [one]
    assert await store.list_partitions(job_id="none") == []


async def test_the_offer_it_was_made_from_comes_back(store: Store, now: dt.datetime) -> None:
    whole = replace(
        record(now),
        region="westeurope",
        zone="2",
        spot=True,
        price=0.0517,
        image="ubuntu",
        max_price=0.06,
        keep="desk",
        reason="preempted",
    )
    assert await store.put_partition(whole) == whole
    assert await store.get_partition("p1") == whole


async def test_a_kept_one_goes_to_another_job(store: Store, now: dt.datetime) -> None:
    first = await store.put_partition(replace(record(now), keep="desk", price=0.1))
    await store.update_partition(first, job_id="next", keep="", price=0.2, reason="lost")
    stored = await store.get_partition("p1")
    assert stored is not None
    assert (stored.job_id, stored.keep, stored.price) == ("next", "", 0.2)
    assert stored.reason == "lost"


async def test_partitions_of_an_owner_and_a_name(store: Store, now: dt.datetime) -> None:
    kept = await store.put_partition(replace(record(now, "p1"), keep="desk"))
    plain = await store.put_partition(record(now, "p2"))
    await store.put_partition(replace(record(now, "p3"), owner="bob", keep="desk"))
    assert await store.list_partitions(owner="ada", keep="desk") == [kept]
    assert await store.list_partitions(owner="ada", keep="") == [plain]
    assert await store.list_partitions(owner="ada") == [kept, plain]


async def test_drained_nodes(store: Store) -> None:
    await store.set_drain("lab", "n1", "disk swap")
    await store.set_drain("lab", "n2", "")
    await store.set_drain("lab", "n1", "new disk")
    assert await store.drains() == {("lab", "n1"): "new disk", ("lab", "n2"): ""}


async def test_a_node_that_is_used_again(store: Store) -> None:
    await store.set_drain("lab", "n1", "disk swap")
    await store.set_drain("lab", "n1", None)
    await store.set_drain("lab", "n1", None)
    assert await store.drains() == {}
