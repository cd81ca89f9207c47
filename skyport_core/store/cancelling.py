"""Cancelling all jobs of an array at once."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from ..model import PROGRESS, EventDraft, JobState
from .base import Part, uninterrupted
from .jobs import CANCELLING
from .rows import FINAL
from .tables import events, job_secrets, jobs

UNPLACED = EventDraft("Cancelled before it was placed", reason="cancelled")

_QUEUED, _CANCELLED = JobState.QUEUED.value, JobState.CANCELLED.value


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
    # All are locked first, in the order in which others lock several: so nobody waits for ever,
    # and nothing changes between the statements below.
    query = sa.select(jobs.c.id, jobs.c.state, jobs.c.target).where(*its_own)
    rows = connection.execute(query.order_by(jobs.c.id).with_for_update()).all()
    if not rows:
        return None
    undecided = [row for row in rows if row.state not in FINAL and row.target not in FINAL]
    ended = [row.id for row in undecided if row.state == _QUEUED]
    ending = [row.id for row in undecided if row.state != _QUEUED]
    open_ = (*its_own, jobs.c.state.not_in(FINAL), jobs.c.target.not_in(FINAL))
    counted = {"version": jobs.c.version + 1, "event_seq": jobs.c.event_seq + 1}
    # Those that wait first: they would take the places of those that are stopped.
    if ended:
        waiting = (*open_, jobs.c.state == _QUEUED)
        progress = PROGRESS[JobState.CANCELLED]
        _tell(connection, waiting, UNPLACED, now, {"state": _CANCELLED, "progress": progress})
        end = {"state": _CANCELLED, "state_since": now, "ended_at": now, "live_number": None}
        end |= {"target": _CANCELLED, "progress": progress}
        end |= {"held": False, "wait_reason": "", "position": None}
        connection.execute(sa.update(jobs).where(*waiting).values(**counted, **end))
        gone = sa.select(jobs.c.id).where(*its_own, jobs.c.state.in_(FINAL))
        connection.execute(sa.delete(job_secrets).where(job_secrets.c.job_id.in_(gone)))
    if ending:
        _tell(connection, open_, CANCELLING, now, {})
        connection.execute(sa.update(jobs).where(*open_).values(**counted, target=_CANCELLED))
    return Cancelled(ended, ending)


def _tell(
    connection: sa.Connection,
    which: Sequence[sa.ColumnElement[bool]],
    event: EventDraft,
    now: dt.datetime,
    after: Mapping[str, object],
) -> None:
    """Store the same event of many jobs; ``after`` has what the change makes of their columns."""
    told = {"time": now, "message": event.message, "reason": event.reason, "hint": event.hint}
    fixed = {
        name: sa.literal(value, events.c[name].type) for name, value in {**told, **after}.items()
    }
    own = {"job_id": jobs.c.id, "seq": jobs.c.event_seq + 1} | {
        name: jobs.c[name] for name in ("state", "progress") if name not in after
    }
    values: dict[str, sa.ColumnElement[Any]] = {**fixed, **own}
    query = sa.select(*values.values()).where(*which)
    connection.execute(sa.insert(events).from_select([*values], query))
