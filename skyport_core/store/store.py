"""The core's memory: jobs with their events and secrets, partitions, drained nodes."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from cryptography.fernet import MultiFernet
from sqlalchemy.ext.asyncio import AsyncConnection

from . import schema
from .base import uninterrupted
from .cancelling import Cancelling
from .certificates import Certificates
from .database import Database
from .events import Events
from .gates import GateTexts
from .jobs import Jobs
from .ledger import Ledger
from .listing import Listing
from .partitions import Partitions
from .shares import Shares
from .submissions import Submissions
from .tables import drains, meta
from .tallies import Tallies
from .telling import Telling
from .vault import Vault, keyring

_CORE_ID = "core_id"
_DIGEST_KEY = "digest_key"


class Store(
    Submissions,
    Jobs,
    Listing,
    Cancelling,
    Tallies,
    Shares,
    Telling,
    Events,
    Ledger,
    Partitions,
    Certificates,
    GateTexts,
):
    """Jobs, events, secrets, partitions, drains and what gates remember in one database.

    Made by :meth:`open`. Every method is one transaction: it happens entirely or not at all, also
    when the process is killed in its midst; it is carried on when its caller is cancelled. All
    datetimes are aware and in UTC.

    Attributes
    ----------
    changes : Changes
        Wakes tasks of this process after a job changed.
    """

    @classmethod
    async def open(
        cls, db_url: str, secret_key: bytes | MultiFernet, *, upgrade: bool = True
    ) -> Store:
        """Connect, and bring the schema up to date.

        Parameters
        ----------
        db_url : str
            ``sqlite:////absolute/path`` or ``postgresql://user:password@host:port/name``.
        secret_key : bytes or MultiFernet
            Fernet key that encrypts the jobs' secrets.
        upgrade : bool
            False: refuse a database whose schema is older instead of changing it.

        Raises
        ------
        DatabaseUnusable
            The database cannot be reached, or its schema is newer (or older) than this release's.
        WrongSecretKey
            The database was written under another secret key.
        """
        keys = keyring(secret_key)
        database = Database(db_url)
        try:
            await (schema.upgrade(database) if upgrade else schema.check(database))
            vault = Vault(keys, await _digest_key(database, keys))
        except BaseException:
            await database.close()
            raise
        return cls(database, vault)

    @uninterrupted
    async def set_drain(self, site: str, node: str, reason: str | None) -> None:
        """Give a node no more jobs, for ``reason``; None: use it again."""
        async with self._database.write() as connection:
            if reason is None:
                await connection.execute(
                    sa.delete(drains).where(drains.c.site == site, drains.c.node == node)
                )
            else:
                values = {"site": site, "node": node, "reason": reason}
                await self._database.upsert(connection, drains, ["site", "node"], values)

    @uninterrupted
    async def drains(self) -> dict[tuple[str, str], str]:
        """The drained nodes: (site, node) to the reason."""
        async with self._database.read() as connection:
            rows = (await connection.execute(sa.select(drains))).all()
        return {(row.site, row.node): row.reason for row in rows}

    @uninterrupted
    async def core_id(self) -> str:
        """Identity of the core that owns the database, made at the first call."""
        async with self._database.read() as connection:
            known = await _read_meta(connection, _CORE_ID)
        if known is None:
            fresh = {"key": _CORE_ID, "value": uuid.uuid4().hex}
            async with self._database.write() as connection:
                await self._database.insert_new(connection, meta, ["key"], fresh)
                known = await _read_meta(connection, _CORE_ID)
        return str(known)


async def _read_meta(connection: AsyncConnection, key: str) -> str | None:
    value: str | None = await connection.scalar(sa.select(meta.c.value).where(meta.c.key == key))
    return value


async def _digest_key(database: Database, keys: MultiFernet) -> str:
    values = {"key": _DIGEST_KEY, "value": Vault.new_digest_key(keys)}
    async with database.write() as connection:
        await database.insert_new(connection, meta, ["key"], values)
        return str(await _read_meta(connection, _DIGEST_KEY))
