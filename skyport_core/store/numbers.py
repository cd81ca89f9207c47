"""Choosing numbers for jobs that no live job has."""

from __future__ import annotations

from collections.abc import Sequence, Set

import sqlalchemy as sa

from ..model import next_number
from .tables import jobs

FEW = 500
"""Numbers up to which only their own rows are looked at, rather than those of all live jobs."""

_AMONG = sa.select(jobs.c.live_number).where(
    jobs.c.live_number.in_(sa.bindparam("numbers", expanding=True))
)
_ALL = sa.select(jobs.c.live_number).where(jobs.c.live_number > 0)


def free_numbers(connection: sa.Connection, wanted: Sequence[int]) -> list[int]:
    """For each number that is wanted it, or the next that is free; no two the same."""
    if len(wanted) > FEW:
        return _free(set(connection.scalars(_ALL)), wanted)
    taken: set[int] = set()
    looked: set[int] = set()
    found = list(wanted)
    while new := list({*found} - looked):
        taken |= set(connection.scalars(_AMONG, {"numbers": new}))
        looked |= {*new}
        found = _free(taken, wanted)
    return found


def _free(taken: Set[int], wanted: Sequence[int]) -> list[int]:
    used, found = set(taken), []
    for number in wanted:
        while number in used:
            number = next_number(number)
        used.add(number)
        found.append(number)
    return found
