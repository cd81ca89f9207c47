"""What one owner has in the core, counted in the database."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from .base import Part, uninterrupted
from .rows import FINAL
from .tables import job_scripts, job_secrets, jobs

SLICE = 500
"""Ids in one statement."""


class Shares(Part):
    """How much of the core each owner takes."""

    @uninterrupted
    async def count_live(self, owner: str) -> int:
        """Jobs of an owner that have not ended."""
        query = sa.select(sa.func.count()).select_from(jobs).where(*_live(owner))

        def read(connection: sa.Connection) -> int:
            return connection.scalar(query) or 0

        return await self._database.run_reading(read)

    @uninterrupted
    async def live_with_inputs(self, owner: str) -> list[str]:
        """Ids of the jobs of an owner that have not ended and were to get inputs."""
        # As the field is written where it is not empty; elsewhere it costs a look too many.
        query = sa.select(jobs.c.id).where(*_live(owner), jobs.c.spec.contains('"inputs":["'))

        def read(connection: sa.Connection) -> list[str]:
            return list(connection.scalars(query))

        return await self._database.run_reading(read)

    @uninterrupted
    async def ids_of(self, owner: str) -> list[str]:
        """Ids of all jobs of an owner."""
        query = sa.select(jobs.c.id).where(jobs.c.owner == owner)

        def read(connection: sa.Connection) -> list[str]:
            return list(connection.scalars(query))

        return await self._database.run_reading(read)

    @uninterrupted
    async def owned(self, owner: str, ids: Collection[str]) -> set[str]:
        """Those of the ids that jobs of an owner have."""
        wanted = sorted(ids)

        def read(connection: sa.Connection) -> set[str]:
            found: set[str] = set()
            for start in range(0, len(wanted), SLICE):
                some = wanted[start : start + SLICE]
                query = sa.select(jobs.c.id).where(jobs.c.id.in_(some), jobs.c.owner == owner)
                found |= set(connection.scalars(query))
            return found

        return await self._database.run_reading(read)

    @uninterrupted
    async def stored_bytes(self, owner: str) -> int:
        """Bytes of the specifications, scripts and secrets of all jobs of an owner, about."""
        size = sa.func.length if self._database.is_sqlite else sa.func.octet_length

        def read(connection: sa.Connection) -> int:
            found = 0
            for column in (jobs.c.spec, job_scripts.c.script, job_secrets.c.token):
                query = sa.select(sa.func.sum(size(column))).where(jobs.c.owner == owner)
                if column.table is not jobs:
                    query = query.select_from(jobs.join(column.table))
                found += int(connection.scalar(query) or 0)
            return found

        return await self._database.run_reading(read)


def _live(owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.owner == owner, jobs.c.live_number > 0, jobs.c.state.not_in(FINAL)
