"""A database of an earlier release is brought up to date with all that it holds."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import sqlalchemy as sa
from alembic import command

from skyport_core.model import JobKind, JobSpec, JobState, PartitionRecord, PartitionState
from skyport_core.store.database import Database
from skyport_core.store.schema import migration_config
from tests.core.store.conftest import OpenStore


def write_first_release(connection: sa.Connection, now: dt.datetime) -> None:
    """The tables of schema 0001 with one running job and its partition."""
    command.upgrade(migration_config(connection), "0001")
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
    insert("jobs", **job, event_seq=1, progress=95)
    partition: dict[str, Any] = {
        "name": "p1",
        "site": "azure",
        "job_id": "j1",
        "owner": "ada",
        "flavor": "small",
    }
    partition |= {"created_at": now, "state_since": now, "state": "READY", "target": "READY"}
    insert("partitions", **partition, error="", version=3)


async def test_what_the_first_release_wrote_is_kept(
    db_url: str, open_store: OpenStore, now: dt.datetime
) -> None:
    database = Database(db_url)
    async with database.write() as connection:
        await connection.run_sync(write_first_release, now)
    await database.close()
    store = await open_store()
    partition = PartitionRecord(
        "p1", "azure", "j1", "ada", "small", now, now, PartitionState.READY, version=3
    )
    assert await store.list_partitions(owner="ada", keep="") == [partition]
    [job] = await store.active_jobs()
    assert job.spec == JobSpec(kind=JobKind.BATCH, name="old", command=("true",), cpus=2)
    assert await store.list_jobs(name="old") == [job]
    assert (job.state, job.excluded) == (JobState.RUNNING, {"azure/big": "quota"})
