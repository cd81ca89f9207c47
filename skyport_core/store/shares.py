"""What one owner has in the core, counted in the database."""

from __future__ import annotations

import sqlalchemy as sa

from ..model import FINAL_STATES
from .base import Part, uninterrupted
from .tables import jobs

_FINAL = [state.value for state in FINAL_STATES]


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


def _live(owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return jobs.c.owner == owner, jobs.c.live_number > 0, jobs.c.state.not_in(_FINAL)
