"""Submitting jobs, one or a whole array: their rows, scripts and secrets."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import (
    PROGRESS,
    EventDraft,
    Job,
    array_tasks,
    next_number,
    preferred_number,
    task_id,
)
from ..wire import JobRequest, JobSecrets
from .base import Part, uninterrupted
from .database import Database
from .errors import Different
from .intake import Draft, Intake, submitted_before
from .records import Mark
from .rows import event_values, new_job_values
from .tables import events, job_ids, job_scripts, job_secrets, jobs
from .vault import Vault

QUEUED = EventDraft("Waiting for a place", reason="queued")
HELD = EventDraft("Held in the queue until it is released", reason="held")

TRIES = 5
"""How often the numbers of an array are chosen anew when another core takes one of them."""


class Submissions(Part):
    """Jobs on their way into the queue."""

    def __init__(self, database: Database, vault: Vault) -> None:
        super().__init__(database, vault)
        self._intake = Intake(database)

    async def put_job(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        now: dt.datetime,
        *,
        submitted: JobRequest | None = None,
    ) -> tuple[Job, bool]:
        """Store a submission once, however often and by how many callers it is repeated.

        Parameters
        ----------
        job_id : str
            UUID chosen by the terminal.
        owner : str
            Whose job it is; ``request.owner`` is not looked at.
        request : JobRequest
            Specification, script and secrets; the latter are stored encrypted. With an ``array``
            all of its jobs are made at once, the first of them under the id.
        now : datetime
            Aware time of the submission.
        submitted : JobRequest, optional
            What came from the terminal, where ``request`` is more than that: a repetition is
            recognised by it.

        Returns
        -------
        tuple of Job and bool
            The stored job (of an array: the first), and whether this call made it.

        Raises
        ------
        Tombstoned
            The id was deleted before it was submitted.
        Different
            The id belongs to a job with another content or owner.
        """
        for last in (*[False] * (TRIES - 1), True):
            try:
                return await self._put_job(job_id, owner, request, now, submitted or request)
            except IntegrityError:
                if last:
                    raise
        raise AssertionError("unreachable")

    @uninterrupted
    async def _put_job(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        now: dt.datetime,
        submitted: JobRequest,
    ) -> tuple[Job, bool]:
        digest = await self._vault.digest(owner, submitted)
        secrets = request.secrets()
        token = await self._vault.seal(secrets) if secrets != JobSecrets() else None
        made = _jobs(job_id, owner, request, now, secret=token is not None)
        try:
            if len(made) == 1:
                event = _first_event(made[0])
                return await self._intake.put(Draft(made[0], digest, event, token, request.script))
            return await self._put_array(made, digest, token, request.script)
        finally:
            self.changes.notify(job_id)

    async def _put_array(
        self, made: Sequence[Job], digest: str, token: bytes | None, script: str | None
    ) -> tuple[Job, bool]:
        first = made[0]
        claim = {
            "id": first.id,
            "owner": first.owner,
            "tombstone": False,
            "created_at": first.created_at,
        }
        async with self._database.write() as connection:
            if not await self._database.insert_new(connection, job_ids, ["id"], claim):
                return await submitted_before(connection, first.id, digest), False
            stored = await _insert_array(connection, made, digest)
            if token is not None:
                rows = [{"job_id": job.id, "token": token} for job in made]
                await connection.execute(sa.insert(job_secrets), rows)
            if script is not None:
                row = {"job_id": first.id, "script": script}
                await connection.execute(sa.insert(job_scripts), row)
        return stored, True

    @uninterrupted
    async def secrets(self, job_id: str) -> JobSecrets:
        """The job's secrets, decrypted; empty once the job ended. KeyError without such a job."""
        query = (
            sa.select(job_secrets.c.token)
            .select_from(jobs.outerjoin(job_secrets))
            .where(jobs.c.id == job_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        if row is None:
            raise KeyError(job_id)
        return JobSecrets() if row.token is None else await self._vault.unseal(row.token)

    @uninterrupted
    async def script(self, job_id: str) -> str | None:
        """The script of the job (the one that all jobs of its array have); None without one."""
        async with self._database.read() as connection:
            own = sa.select(job_scripts.c.script).where(job_scripts.c.job_id == job_id)
            found: str | None = await connection.scalar(own)
            if found is not None:
                return found
            array = sa.select(jobs.c.array_id).where(jobs.c.id == job_id).scalar_subquery()
            shared = (
                sa.select(job_scripts.c.script)
                .join(jobs, jobs.c.id == job_scripts.c.job_id)
                .where(jobs.c.array_id == array)
                .limit(1)
            )
            return await connection.scalar(shared)


def _jobs(
    job_id: str, owner: str, request: JobRequest, now: dt.datetime, *, secret: bool
) -> list[Job]:
    """The job that a request asks for, or all those of its array."""
    spec = request.spec()
    job = Job(
        job_id,
        owner,
        spec,
        preferred_number(job_id),
        created_at=now,
        state_since=now,
        held=spec.hold,
        scripted=request.script is not None,
        secret=secret,
    )
    if spec.array is None:
        return [job]
    indices, limit = array_tasks(spec.array)
    ids = [job_id, *(task_id(job_id, index) for index in indices[1:])]
    return [
        dataclasses.replace(
            job,
            id=own_id,
            number=preferred_number(own_id),
            array_id=job_id,
            array_index=index,
            array_limit=limit,
        )
        for own_id, index in zip(ids, indices, strict=True)
    ]


def _first_event(job: Job) -> EventDraft:
    return HELD if job.held else QUEUED


async def _insert_array(connection: AsyncConnection, made: Sequence[Job], digest: str) -> Job:
    """Store the jobs of an array with a few statements; the first one's id is claimed already.

    Raises IntegrityError when another core takes one of the numbers at the same time.
    """
    taken = set(
        await connection.scalars(sa.select(jobs.c.live_number).where(jobs.c.live_number > 0))
    )
    numbered = []
    for job in made:
        number = job.number
        while number in taken:
            number = next_number(number)
        taken.add(number)
        numbered.append(dataclasses.replace(job, number=number))
    progress = PROGRESS[made[0].state]
    rest = {"digest": digest, "event_seq": 1, "progress": progress}
    claims = [
        {"id": job.id, "owner": job.owner, "tombstone": False, "created_at": job.created_at}
        for job in numbered[1:]
    ]
    if await _any_known(connection, [claim["id"] for claim in claims]):
        raise Different("The id of a job of this array belongs to another job; use a new one.")
    told = [
        Mark(progress=progress).next_event(job, _first_event(job), job.created_at)
        for job in numbered
    ]
    await connection.execute(sa.insert(job_ids), claims)
    await connection.execute(sa.insert(jobs), [new_job_values(job) | rest for job in numbered])
    await connection.execute(sa.insert(events), [event_values(event) for event in told])
    return numbered[0]


async def _any_known(connection: AsyncConnection, ids: Sequence[object]) -> bool:
    for start in range(0, len(ids), 500):
        query = sa.select(job_ids.c.id).where(job_ids.c.id.in_(ids[start : start + 500])).limit(1)
        if (await connection.execute(query)).first() is not None:
            return True
    return False
