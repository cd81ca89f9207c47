"""Submitting jobs, one or a whole array: their rows, scripts and secrets."""

from __future__ import annotations

import asyncio
import datetime as dt
from dataclasses import replace

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ..model import EventDraft, Job, preferred_number
from ..wire import JobRequest, JobSecrets
from .arrays import ArrayDraft, array_draft, first_of_array, insert_array
from .base import Part, uninterrupted
from .database import Database
from .intake import Draft, Intake, submitted_before
from .tables import job_scripts, job_secrets, jobs
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
        note: str = "",
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
        note : str
            Hint of the job's first event.

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
                return await self._put_job(job_id, owner, request, now, submitted or request, note)
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
        note: str,
    ) -> tuple[Job, bool]:
        digest = await self._vault.digest(owner, submitted)
        secrets = request.secrets()
        token = await self._vault.seal(secrets) if secrets != JobSecrets() else None
        job = _job(job_id, owner, request, now, secret=token is not None)
        event = replace(HELD if job.held else QUEUED, hint=note)
        try:
            draft = Draft(job, digest, event, token, request.script)
            if job.array_id is None:
                return await self._intake.put(draft)
            return await self._put_array(await asyncio.to_thread(array_draft, draft))
        finally:
            self.changes.notify(job_id)

    async def _put_array(self, draft: ArrayDraft) -> tuple[Job, bool]:
        first = await self._database.run_writing(lambda connection: insert_array(connection, draft))
        if first is not None:
            return first, True
        job = draft.first.job
        async with self._database.write() as connection:
            return await submitted_before(connection, job.id, draft.first.digest), False

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


def _job(job_id: str, owner: str, request: JobRequest, now: dt.datetime, *, secret: bool) -> Job:
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
    return job if spec.array is None else first_of_array(job)
