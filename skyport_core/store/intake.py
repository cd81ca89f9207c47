"""Submissions that come at the same time are stored by one transaction.

A transaction costs about the same for one row as for a hundred, and writers take turns; so whoever
comes while one is under way joins the next.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import PROGRESS, EventDraft, Job
from .database import Database
from .errors import Different, Tombstoned
from .numbers import free_numbers
from .records import Mark
from .rows import Values, event_values, job_of, new_job_values
from .tables import events, job_ids, job_scripts, job_secrets, jobs
from .writing import locked_row

MOST = 200
"""Submissions in one transaction at most."""

GIVE_UP = 2
"""Failures of the database in a row after which the rest of a transaction's is not tried."""


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

Waiting = tuple[Draft, "asyncio.Future[Outcome]"]
"""A draft, and where its outcome goes."""


class Intake:
    """Stores drafts, several at a time.

    Parameters
    ----------
    database : Database
        Where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: list[Waiting] = []
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

    async def _answer(self, batch: Sequence[Waiting]) -> Exception | None:
        """Store a batch, one by one if it fails as a whole; why it failed as a whole, if it did."""
        drafts = [draft for draft, _ in batch]
        try:
            made = await self._database.run_writing(
                lambda connection: _insert_new(connection, drafts)
            )
        except Exception as error:
            if len(batch) == 1:
                _settle(batch[0][1], error)
            else:
                await self._answer_singly(batch)
            return error
        for draft, future in batch:
            # Of two drafts with one id, the first has made the job.
            job = made.pop(draft.job.id, None)
            _settle(future, await self._repeated(draft) if job is None else (job, True))
        return None

    async def _answer_singly(self, batch: Sequence[Waiting]) -> None:
        """Store each by itself, so that nobody fails for another's fault.

        Where it is the database's own, not everyone is to wait for that to show once more.
        """
        failed = 0
        for number, each in enumerate(batch):
            error = await self._answer([each])
            failed = failed + 1 if error is not None and _is_of_database(error) else 0
            if error is not None and failed == GIVE_UP:
                for _, future in batch[number + 1 :]:
                    _settle(future, error)
                return

    async def _repeated(self, draft: Draft) -> Outcome | Exception:
        """What becomes of a draft whose id is known already."""
        try:
            async with self._database.write() as connection:
                return await submitted_before(connection, draft.job.id, draft.digest), False
        except Exception as error:  # whoever waits for it gets it
            return error


def _is_of_database(error: Exception) -> bool:
    """Whether it looks as if the database failed, rather than one of the submissions."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return isinstance(error, (OperationalError, OSError))


def _settle(future: asyncio.Future[Outcome], outcome: Outcome | Exception) -> None:
    if future.done():
        return
    if isinstance(outcome, Exception):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


_KNOWN = sa.select(job_ids.c.id).where(job_ids.c.id.in_(sa.bindparam("ids", expanding=True)))
_INSERTS = {table: sa.insert(table) for table in (job_ids, jobs, events, job_secrets, job_scripts)}


def _insert_new(connection: sa.Connection, drafts: Sequence[Draft]) -> dict[str, Job]:
    """Store the drafts whose ids are new; their jobs by id."""
    ids = [draft.job.id for draft in drafts]
    known = set(connection.scalars(_KNOWN, {"ids": ids}).all())
    new: dict[str, Draft] = {}
    for draft in drafts:
        if draft.job.id not in known:
            new.setdefault(draft.job.id, draft)
    if not new:
        return {}
    numbers = free_numbers(connection, [draft.job.number for draft in new.values()])
    made = [
        dataclasses.replace(draft, job=dataclasses.replace(draft.job, number=number))
        for draft, number in zip(new.values(), numbers, strict=True)
    ]
    insert_drafts(connection, made)
    return {draft.job.id: draft.job for draft in made}


def insert_drafts(connection: sa.Connection, drafts: Sequence[Draft]) -> None:
    """Write all rows of drafts whose ids and numbers are free."""
    rows: dict[sa.Table, list[Values]] = {table: [] for table in _INSERTS}
    for draft in drafts:
        job = draft.job
        progress = PROGRESS[job.state]
        rows[job_ids].append(
            {
                "id": job.id,
                "owner": job.owner,
                "tombstone": False,
                "created_at": job.created_at,
                "array_index": job.array_index,
            }
        )
        rest = {"digest": draft.digest, "event_seq": 1, "progress": progress}
        rows[jobs].append(new_job_values(job) | rest)
        first = Mark(progress=progress).next_event(job, draft.event, job.created_at)
        rows[events].append(event_values(first))
        if draft.token is not None:
            rows[job_secrets].append({"job_id": job.id, "token": draft.token})
        if draft.script is not None:
            rows[job_scripts].append({"job_id": job.id, "script": draft.script})
    for table, statement in _INSERTS.items():
        if rows[table]:
            connection.execute(statement, rows[table])


async def submitted_before(connection: AsyncConnection, job_id: str, digest: str) -> Job:
    """The job that an id which is known already stands for. Raises Tombstoned or Different."""
    row = await locked_row(connection, job_id)
    if row is None:
        raise Tombstoned(f"Job {job_id} was deleted before it was submitted; use a new id.")
    if row.digest != digest:
        raise Different(f"The id {job_id} belongs to another job; use a new one.")
    return job_of(row)
