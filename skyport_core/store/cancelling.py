"""Cancelling all jobs of an array at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..model import FINAL_STATES, PROGRESS, EventDraft, JobState
from .base import Part, uninterrupted
from .jobs import CANCELLING
from .tables import events, job_secrets, jobs

SLICE = 500
"""Rows of one statement."""

UNPLACED = EventDraft("Cancelled before it was placed", reason="cancelled")

_FINAL = [state.value for state in FINAL_STATES]
_CANCELLED = JobState.CANCELLED.value


@dataclass(frozen=True)
class Cancelled:
    """The jobs that have ended by it, and those that are to end; by their ids."""

    ended: Sequence[str] = ()
    ending: Sequence[str] = ()


class Cancelling(Part):
    """The end of whole arrays."""

    @uninterrupted
    async def cancel_array(
        self, array_id: str, owner: str | None, now: dt.datetime
    ) -> Cancelled | None:
        """End all jobs of an array whose end is not decided yet, in one transaction.

        Those that wait in the queue have ended with it; the others get their target.

        Parameters
        ----------
        owner : str or None
            Only an array of this owner; None: whoever may cancel any.

        Returns
        -------
        Cancelled or None
            What it did; None when no job of such an array has a record.
        """
        its_own = [jobs.c.array_id == array_id]
        if owner is not None:
            its_own.append(jobs.c.owner == owner)
        found = await self._database.run_writing(
            lambda connection: _cancel(connection, its_own, now)
        )
        for job_id in (*found.ended, *found.ending) if found is not None else ():
            self.changes.notify(job_id)
        return found


def _cancel(
    connection: sa.Connection, its_own: Sequence[sa.ColumnElement[bool]], now: dt.datetime
) -> Cancelled | None:
    if connection.scalar(sa.select(jobs.c.id).where(*its_own).limit(1)) is None:
        return None
    undecided = (*its_own, jobs.c.state.not_in(_FINAL), jobs.c.target.not_in(_FINAL))
    counted = {"version": jobs.c.version + 1, "event_seq": jobs.c.event_seq + 1}
    told = (jobs.c.id, jobs.c.event_seq, jobs.c.state, jobs.c.progress)
    end = {
        "state": _CANCELLED,
        "target": _CANCELLED,
        "state_since": now,
        "ended_at": now,
        "live_number": None,
        "progress": PROGRESS[JobState.CANCELLED],
    }
    # Those that wait first: they would take the places of those that are stopped.
    waiting = sa.update(jobs).where(*undecided, jobs.c.state == JobState.QUEUED.value)
    ended = connection.execute(waiting.values(**counted, **end).returning(*told)).all()
    others = sa.update(jobs).where(*undecided)
    target = {"target": _CANCELLED}
    ending = connection.execute(others.values(**counted, **target).returning(*told)).all()
    _tell(connection, ended, UNPLACED, now)
    _tell(connection, ending, CANCELLING, now)
    ids = [row.id for row in ended]
    for start in range(0, len(ids), SLICE):
        some = ids[start : start + SLICE]
        connection.execute(sa.delete(job_secrets).where(job_secrets.c.job_id.in_(some)))
    return Cancelled(ids, [row.id for row in ending])


def _tell(
    connection: sa.Connection, rows: Sequence[sa.Row[Any]], event: EventDraft, now: dt.datetime
) -> None:
    """Store the same event of many jobs."""
    told = {"time": now, "message": event.message, "reason": event.reason, "hint": event.hint}
    for start in range(0, len(rows), SLICE):
        values = [
            told
            | {"job_id": row.id, "seq": row.event_seq, "state": row.state, "progress": row.progress}
            for row in rows[start : start + SLICE]
        ]
        connection.execute(sa.insert(events), values)
