"""Fills a core's database with jobs that have ended, as months of use would."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from pathlib import Path

import sqlalchemy as sa

from skyport_core.model import Job, JobKind, JobSpec, JobState, preferred_number
from skyport_core.secretkey import load_secret_key
from skyport_core.store import Store
from skyport_core.store.rows import new_job_values
from skyport_core.store.tables import events, job_ids, jobs

OWNERS = 50
BATCH = 1000


async def fill(home: Path, count: int) -> None:
    """Store ``count`` jobs of :data:`OWNERS` owners, each with its events."""
    path = home / "skyport.sqlite"
    url = f"sqlite:///{path}"
    store = await Store.open(url, load_secret_key(home))
    await store.close()
    await asyncio.to_thread(_insert, path, count)


def _insert(path: Path, count: int) -> None:
    engine = sa.create_engine(f"sqlite:///{path}")
    now = dt.datetime.now(dt.timezone.utc)
    try:
        for start in range(0, count, BATCH):
            made = [_job(number, now) for number in range(start, min(count, start + BATCH))]
            ids = [
                {"id": job.id, "owner": job.owner, "tombstone": False, "created_at": job.created_at}
                for job in made
            ]
            rows = [
                new_job_values(job) | {"digest": "x" * 64, "event_seq": 5, "progress": 100}
                for job in made
            ]
            told = [
                {
                    "job_id": job.id,
                    "seq": seq,
                    "time": job.created_at,
                    "state": JobState.FINISHED.value,
                    "progress": 100,
                    "message": "Something happened to the job",
                    "reason": "",
                    "hint": "",
                }
                for job in made
                for seq in range(1, 6)
            ]
            with engine.begin() as connection:
                connection.execute(sa.insert(job_ids), ids)
                connection.execute(sa.insert(jobs), rows)
                connection.execute(sa.insert(events), told)
    finally:
        engine.dispose()


def _job(number: int, now: dt.datetime) -> Job:
    job_id = str(uuid.uuid4())
    submitted = now - dt.timedelta(minutes=number + 10)
    spec = JobSpec(kind=JobKind.BATCH, name=f"job {number}", command=("sleep", "1"), cpus=1)
    return Job(
        job_id,
        f"user{number % OWNERS}",
        spec,
        preferred_number(job_id),
        created_at=submitted,
        state_since=submitted,
        state=JobState.FINISHED,
        target=JobState.FINISHED,
        ended_at=submitted,
        exit_code=0,
    )
