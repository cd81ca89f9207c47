"""The records of the partitions that the core made."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import sqlalchemy as sa

from ..model import PartitionRecord, PartitionState
from .base import Part, uninterrupted, utcnow
from .errors import Conflict
from .records import PartitionChanges, changed_partition
from .rows import partition_of, partition_values
from .tables import partitions

if TYPE_CHECKING:
    from typing_extensions import Unpack

_GONE = [state.value for state in PartitionState if state.final]


class Partitions(Part):
    """Partitions from the intent to make one until a look showed it gone."""

    @uninterrupted
    async def put_partition(self, record: PartitionRecord) -> PartitionRecord:
        """Store a new record; one that has the same name already is returned as it is."""
        query = sa.select(partitions).where(partitions.c.name == record.name)
        async with self._database.write() as connection:
            await self._database.insert_new(
                connection, partitions, ["name"], partition_values(record)
            )
            return partition_of((await connection.execute(query)).one())

    @uninterrupted
    async def get_partition(self, name: str) -> PartitionRecord | None:
        """The record, or None."""
        query = sa.select(partitions).where(partitions.c.name == name)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else partition_of(row)

    @uninterrupted
    async def list_partitions(
        self,
        *,
        active: bool = False,
        site: str | None = None,
        job_id: str | None = None,
        owner: str | None = None,
        keep: str | None = None,
    ) -> list[PartitionRecord]:
        """Records by age, oldest first.

        Parameters
        ----------
        active : bool
            Only those not known to be gone.
        site, job_id, owner, keep
            Only records that match all that are given; ``keep`` is a name, or "" for those that
            go with their jobs.
        """
        query = sa.select(partitions).order_by(partitions.c.created_at, partitions.c.name)
        if active:
            query = query.where(partitions.c.state.not_in(_GONE))
        wanted = {"site": site, "job_id": job_id, "owner": owner, "keep": keep}
        for column, value in wanted.items():
            if value is not None:
                query = query.where(partitions.c[column] == value)
        async with self._database.read() as connection:
            return [partition_of(row) for row in await connection.execute(query)]

    @uninterrupted
    async def update_partition(
        self,
        record: PartitionRecord,
        *,
        now: dt.datetime | None = None,
        **changes: Unpack[PartitionChanges],
    ) -> PartitionRecord:
        """Change a record; a new state sets ``state_since``.

        Raises
        ------
        Conflict
            The stored record has another version than ``record``.
        """
        query = sa.select(partitions).where(partitions.c.name == record.name).with_for_update()
        async with self._database.write() as connection:
            row = (await connection.execute(query)).one_or_none()
            if row is None or row.version != record.version:
                raise Conflict(
                    f"Partition {record.name} was changed since version {record.version}."
                )
            new = changed_partition(partition_of(row), changes, now or utcnow())
            await connection.execute(
                sa.update(partitions)
                .where(partitions.c.name == new.name)
                .values(partition_values(new))
            )
        return new
