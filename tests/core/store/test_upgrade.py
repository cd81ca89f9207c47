"""A database of an earlier release is brought up to date with all that it holds."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from skyport_core.model import JobKind, JobSpec, JobState, PartitionRecord, PartitionState
from skyport_core.store import WrongSecretKey
from skyport_core.store.database import Database
from skyport_core.store.schema import migration_config
from tests.core.store.conftest import OpenStore

AN_HOUR = dt.timedelta(hours=1)


def write_release(connection: sa.Connection, version: str, now: dt.datetime) -> None:
    """The tables of an early schema with one running job, its event, secrets and partition."""
    command.upgrade(migration_config(connection), version)
    tables = sa.MetaData()
    tables.reflect(connection)

    def insert(table: str, **values: Any) -> None:
        connection.execute(sa.insert(tables.tables[table]).values(**values))

    spec = {"kind": "batch", "name": "old", "command": ["true"], "cpus": 2.0, "start_timeout": 120}
    insert("job_ids", id="j1", owner="ada", tombstone=False, created_at=now)
    job: dict[str, Any] = {
        "id": "j1",
        "owner": "ada",
        "kind": "batch",
        "spec": json.dumps(spec),
        "digest": "d",
    }
    job |= {"number": 7, "live_number": 7, "state": "RUNNING", "target": "RUNNING"}
    job |= {"created_at": now, "state_since": now, "site": "azure", "partition": "p1"}
    job |= {"forward_ports": {}, "excluded": {"azure/big": "quota"}, "attempt": 1}
    job |= {"wait_reason": "", "cleanup_pending": False, "version": 4}
    insert("jobs", **job, event_seq=1, progress=95, reserved_cpus=2.0, reserved_gpus=1)
    event = {"message": "Placed", "reason": "placed", "hint": "", "progress": 10}
    insert("events", job_id="j1", seq=1, time=now - AN_HOUR, state="ALLOCATING", **event)
    insert("job_secrets", job_id="j1", token=b"sealed")
    partition: dict[str, Any] = {
        "name": "p1",
        "site": "azure",
        "job_id": "j1",
        "owner": "ada",
        "flavor": "small",
    }
    partition |= {"created_at": now, "state_since": now, "state": "READY", "target": "READY"}
    insert("partitions", **partition, error="", version=3)
    # One on a node that was there already, of which nothing is known that has a price.
    insert("job_ids", id="j2", owner="ada", tombstone=False, created_at=now)
    job |= {"id": "j2", "number": 8, "live_number": 8, "partition": None, "node": "n1"}
    insert("jobs", **job, event_seq=0, progress=95)


@pytest.mark.parametrize("version", ["0001", "0002"])
async def test_what_earlier_releases_wrote_is_kept(
    db_url: str, open_store: OpenStore, now: dt.datetime, version: str
) -> None:
    database = Database(db_url)
    async with database.write() as connection:
        await connection.run_sync(write_release, version, now)
    await database.close()
    store = await open_store()
    partition = PartitionRecord(
        "p1", "azure", "j1", "ada", "small", now, now, PartitionState.READY, version=3
    )
    assert await store.list_partitions(owner="ada", keep="") == [partition]
    job, unpriced = await store.active_jobs()
    assert job.spec == JobSpec(kind=JobKind.BATCH, name="old", command=("true",), cpus=2)
    assert await store.list_jobs(name="old") == [job, unpriced]
    assert (job.state, job.excluded) == (JobState.RUNNING, {"azure/big": "quota"})
    assert [event.message for event in await store.events("j1")] == ["Placed"]
    with pytest.raises(WrongSecretKey):  # it is there, and nothing that this key has sealed
        await store.secrets("j1")
    # What they have used is counted from when they got their places, as far as that is known.
    for each in (job, unpriced):
        await store.update_job(each, state=JobState.FINISHED, now=now + AN_HOUR)
    lines = await store.usage(now - 2 * AN_HOUR, now + 2 * AN_HOUR)
    line, other = sorted(lines, key=lambda line: line.job_id)
    assert (other.started_at, other.ended_at, other.price) == (now, now + AN_HOUR, None)
    assert (line.started_at, line.ended_at) == (now - AN_HOUR, now + AN_HOUR)
    assert (line.owner, line.site, line.flavor, line.cpus, line.gpus) == (
        "ada",
        "azure",
        "small",
        2.0,
        1,
    )


async def test_an_upgrade_can_be_taken_back(db_url: str, now: dt.datetime) -> None:
    database = Database(db_url)
    async with database.write() as connection:
        await connection.run_sync(write_release, "0002", now)
        for step, version in ((command.upgrade, "head"), (command.downgrade, "0002")):
            await connection.run_sync(
                lambda sync, step=step, version=version: step(migration_config(sync), version)
            )
        assert await connection.scalar(sa.text("SELECT COUNT(*) FROM events")) == 1
        assert await connection.scalar(sa.text("SELECT token FROM job_secrets")) == b"sealed"
        states = await connection.scalars(sa.text("SELECT state FROM jobs"))
        assert states.all() == ["RUNNING", "RUNNING"]
    await database.close()
