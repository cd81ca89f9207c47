"""The certificates that were issued, and whom the original Sky Port's stand for."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from ..model import CertificateKind, CertificateRecord
from .base import Part, uninterrupted, utcnow
from .tables import certificates, identities, meta

CORE_ID = "core_id"


@dataclass(frozen=True)
class Standing:
    """What decides, besides a certificate itself, whether it is accepted.

    Attributes
    ----------
    revoked
        Serial numbers of revoked certificates that have not expired.
    identities
        Names by the UUIDs in certificates of the original.
    """

    revoked: frozenset[str]
    identities: dict[str, str]


class Certificates(Part):
    """Certificates by serial number, and names by UUID."""

    @uninterrupted
    async def core_id(self) -> str:
        """Identity of the core that owns the database, made at the first call."""
        fresh = {"key": CORE_ID, "value": uuid.uuid4().hex}
        query = sa.select(meta.c.value).where(meta.c.key == CORE_ID)
        async with self._database.read() as connection:
            known = await connection.scalar(query)
        if known is None:
            async with self._database.write() as connection:
                await self._database.insert_new(connection, meta, ["key"], fresh)
                known = await connection.scalar(query)
        return str(known)

    @uninterrupted
    async def add_certificate(self, record: CertificateRecord) -> None:
        """Put a certificate on record."""
        values = {
            "serial": record.serial,
            "kind": record.kind.value,
            "name": record.name,
            "issued_at": record.issued_at,
            "expires_at": record.expires_at,
            "revoked_at": record.revoked_at,
            "reason": record.reason,
        }
        async with self._database.write() as connection:
            await connection.execute(sa.insert(certificates).values(values))

    @uninterrupted
    async def certificate(self, serial: str) -> CertificateRecord | None:
        """The record, or None."""
        query = sa.select(certificates).where(certificates.c.serial == serial)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _record(row)

    @uninterrupted
    async def certificates(
        self, *, name: str | None = None, kinds: Collection[CertificateKind] | None = None
    ) -> list[CertificateRecord]:
        """Records, the newest first; of one name, of some kinds."""
        query = sa.select(certificates).order_by(
            certificates.c.issued_at.desc(), certificates.c.serial
        )
        if name is not None:
            query = query.where(certificates.c.name == name)
        if kinds is not None:
            query = query.where(certificates.c.kind.in_([kind.value for kind in kinds]))
        async with self._database.read() as connection:
            return [_record(row) for row in await connection.execute(query)]

    @uninterrupted
    async def revoke_certificate(
        self, serial: str, reason: str = "", now: dt.datetime | None = None
    ) -> CertificateRecord | None:
        """Accept a certificate no longer; the record, or None if there is none. Idempotent."""
        query = sa.select(certificates).where(certificates.c.serial == serial)
        change = (
            sa.update(certificates)
            .where(certificates.c.serial == serial, certificates.c.revoked_at.is_(None))
            .values(revoked_at=now or utcnow(), reason=reason)
        )
        async with self._database.write() as connection:
            await connection.execute(change)
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else _record(row)

    @uninterrupted
    async def standing(self, now: dt.datetime | None = None) -> Standing:
        """What was revoked, and whom UUIDs stand for, as of now."""
        revoked = sa.select(certificates.c.serial).where(
            certificates.c.revoked_at.is_not(None), certificates.c.expires_at > (now or utcnow())
        )
        async with self._database.read() as connection:
            serials = frozenset((await connection.scalars(revoked)).all())
            rows = (await connection.execute(sa.select(identities))).all()
        return Standing(serials, {row.uuid: row.name for row in rows})

    @uninterrupted
    async def adopt(self, uuid: str, name: str | None) -> None:
        """Let a UUID of the original's certificates stand for ``name``; None: for nobody."""
        async with self._database.write() as connection:
            if name is None:
                await connection.execute(sa.delete(identities).where(identities.c.uuid == uuid))
            else:
                values = {"uuid": uuid, "name": name}
                await self._database.upsert(connection, identities, ["uuid"], values)


def _record(row: sa.Row[tuple[object, ...]]) -> CertificateRecord:
    columns = dict(row._mapping)
    return CertificateRecord(**{**columns, "kind": CertificateKind(columns["kind"])})
