"""Submissions that come at the same time are stored by one transaction.

A transaction costs about the same for one row as for a hundred, and writers take turns; so whoever
comes while one is under way joins the next.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import PROGRESS, EventDraft, Job, next_number
from .database import Database
from .errors import Different, StoreError, Tombstoned
from .records import Mark
from .rows import event_values, job_of, new_job_values
from .tables import events, job_ids, job_scripts, job_secrets, jobs
from .writing import locked_row

MOST = 200
"""Submissions in one transaction at most."""


@dataclass(frozen=True)
class Draft:
    """A submission that is ready to be stored.

    Attributes
    ----------
    digest
        Fingerprint by which a repetition is recognised.
    event
        The job's first.
    token, script
        Its secrets, encrypted, and its script; None without.
    """

    job: Job
    digest: str
    event: EventDraft
    token: bytes | None = None
    script: str | None = None


Outcome = tuple[Job, bool]
"""The stored job, and whether the draft made it."""


class Intake:
    """Stores drafts, several at a time.

    Parameters
    ----------
    database : Database
        Where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[tuple[Draft, asyncio.Future[Outcome]]] = []
        self._worker: asyncio.Task[None] | None = None

    async def put(self, draft: Draft) -> Outcome:
        """Store a draft once.

        Raises
        ------
        Tombstoned, Different
            As of ``put_job``.
        IntegrityError
            Another core took its number at the same time.
        """
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.append((draft, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._answer(batch)
        finally:
            self._worker = None

    async def _answer(self, batch: Sequence[tuple[Draft, asyncio.Future[Outcome]]]) -> None:
        """Store a batch; one that fails as a whole is stored one by one, to tell whose fault."""
        try:
            found = await self._store([draft for draft, _ in batch])
        except Exception as error:
            if len(batch) == 1 or not isinstance(error, IntegrityError):
                for _, future in batch:
                    _settle(future, error)
                return
            for each in batch:
                await self._answer([each])
            return
        for (_, future), outcome in zip(batch, found, strict=True):
            _settle(future, outcome)

    async def _store(self, drafts: Sequence[Draft]) -> list[Outcome | Exception]:
        async with self._database.write() as connection:
            known = await _known(connection, (draft.job.id for draft in drafts))
            new: dict[str, Draft] = {}
            for draft in drafts:
                if draft.job.id not in known:
                    new.setdefault(draft.job.id, draft)
            made = await _numbered(connection, new.values())
            if made:
                await _insert(connection, made)
            jobs_made = {draft.job.id: draft.job for draft in made}
            outcomes: list[Outcome | Exception] = []
            for draft in drafts:
                if new.get(draft.job.id) is draft:
                    outcomes.append((jobs_made[draft.job.id], True))
                else:
                    outcomes.append(await _repeated(connection, draft))
            return outcomes


def _settle(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


async def _known(connection: AsyncConnection, ids: Iterable[str]) -> set[str]:
    query = sa.select(job_ids.c.id).where(job_ids.c.id.in_(list(ids)))
    return set(await connection.scalars(query))


async def _numbered(connection: AsyncConnection, drafts: Iterable[Draft]) -> list[Draft]:
    """The drafts with numbers that no live job has."""
    drafts = list(drafts)
    wanted = [draft.job.number for draft in drafts]
    query = sa.select(jobs.c.live_number).where(jobs.c.live_number.in_(wanted))
    taken = set(await connection.scalars(query)) if wanted else set()
    numbered = []
    for draft in drafts:
        number = draft.job.number
        while number in taken:
            number = next_number(number)
            if number not in wanted and await _is_taken(connection, number):
                taken.add(number)
        taken.add(number)
        job = dataclasses.replace(draft.job, number=number)
        numbered.append(dataclasses.replace(draft, job=job))
    return numbered


async def _is_taken(connection: AsyncConnection, number: int) -> bool:
    query = sa.select(jobs.c.live_number).where(jobs.c.live_number == number)
    return await connection.scalar(query) is not None


async def _insert(connection: AsyncConnection, drafts: Sequence[Draft]) -> None:
    claims, rows, told = [], [], []
    for draft in drafts:
        job = draft.job
        progress = PROGRESS[job.state]
        claims.append(
            {"id": job.id, "owner": job.owner, "tombstone": False, "created_at": job.created_at}
        )
        rest = {"digest": draft.digest, "event_seq": 1, "progress": progress}
        rows.append(new_job_values(job) | rest)
        first = Mark(progress=progress).next_event(job, draft.event, job.created_at)
        told.append(event_values(first))
    await connection.execute(sa.insert(job_ids), claims)
    await connection.execute(sa.insert(jobs), rows)
    await connection.execute(sa.insert(events), told)
    secrets = [{"job_id": each.job.id, "token": each.token} for each in drafts if each.token]
    if secrets:
        await connection.execute(sa.insert(job_secrets), secrets)
    scripts = [
        {"job_id": each.job.id, "script": each.script} for each in drafts if each.script is not None
    ]
    if scripts:
        await connection.execute(sa.insert(job_scripts), scripts)


async def _repeated(connection: AsyncConnection, draft: Draft) -> Outcome | Exception:
    try:
        return await submitted_before(connection, draft.job.id, draft.digest), False
    except StoreError as error:
        return error


async def submitted_before(connection: AsyncConnection, job_id: str, digest: str) -> Job:
    """The job that an id which is known already stands for. Raises Tombstoned or Different."""
    row = await locked_row(connection, job_id)
    if row is None:
        raise Tombstoned(f"Job {job_id} was deleted before it was submitted; use a new id.")
    if row.digest != digest:
        raise Different(f"The id {job_id} belongs to another job; use a new one.")
    return job_of(row)
