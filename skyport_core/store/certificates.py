"""The certificates that were issued, and whom the original Sky Port's stand for."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from ..model import BY_HUB, BY_SOCKET, CertificateKind, CertificateRecord
from .base import Part, uninterrupted, utcnow
from .errors import StoreError
from .tables import certificates, identities, meta, refusals

STANDING = "standing"
"""Has another value after each change of what decides whether certificates are accepted."""

REMEMBERED = 10
"""So many times as many certificates as a name may have valid, it may have had and revoked."""


class ParentRevoked(StoreError):
    """The certificate with which another one was asked for is not valid any more."""


class TooManyCertificates(StoreError):
    """A name has as many certificates as it may have."""


@dataclass(frozen=True)
class Standing:
    """What decides, besides a certificate itself, whether it is accepted.

    Attributes
    ----------
    revoked
        Serial numbers of revoked certificates that have not expired.
    identities
        Names by the UUIDs in certificates of the original.
    refused
        Issuers and serial numbers of the original's certificates that are not accepted.
    """

    revoked: frozenset[str]
    identities: dict[str, str]
    refused: frozenset[tuple[str, str]] = frozenset()


class Certificates(Part):
    """Certificates by serial number, and names by UUID."""

    @uninterrupted
    async def add_certificate(self, record: CertificateRecord, most: int | None = None) -> None:
        """Put a certificate on record.

        Parameters
        ----------
        record : CertificateRecord
            One that a certificate asked for is added only while that one is valid.
        most : int, optional
            How many valid certificates its name may have, with this one.

        Raises
        ------
        ParentRevoked
            The certificate that asked for it was revoked.
        TooManyCertificates
            The name has too many.
        """
        values = {
            "serial": record.serial,
            "kind": record.kind.value,
            "name": record.name,
            "issued_at": record.issued_at,
            "expires_at": record.expires_at,
            "revoked_at": record.revoked_at,
            "reason": record.reason,
            "issued_by": record.issued_by,
        }
        async with self._database.write() as connection:
            await _check_parent(connection, record)
            if most is not None:
                await _check_number(connection, record, most)
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
        """Accept a certificate no longer, nor those that were asked for with it.

        Returns the record, or None if there is none. Idempotent.
        """
        query = sa.select(certificates).where(certificates.c.serial == serial)
        async with self._database.write() as connection:
            await _revoke(connection, [serial], now or utcnow(), reason)
            row = (await connection.execute(query)).one_or_none()
            seen, generation = {serial}, [serial]
            while generation and row is not None:
                asked = certificates.c.issued_by.in_(generation)
                found = await connection.scalars(sa.select(certificates.c.serial).where(asked))
                generation = [one for one in found if one not in seen]
                seen.update(generation)
                await _revoke(connection, generation, now or utcnow(), f"with {serial}")
            await self._changed(connection)
        return None if row is None else _record(row)

    @uninterrupted
    async def refuse_original(
        self, issuer: str, serial: str, expires_at: dt.datetime, reason: str = ""
    ) -> None:
        """Accept one certificate of the original no longer. Idempotent."""
        key = {"issuer": issuer, "serial": serial}
        values = {**key, "revoked_at": utcnow(), "expires_at": expires_at, "reason": reason}
        async with self._database.write() as connection:
            await self._database.insert_new(connection, refusals, list(key), values)
            await self._changed(connection)

    @uninterrupted
    async def standing_mark(self) -> str:
        """Another one after each change of :meth:`standing`; to be asked for before it."""
        query = sa.select(meta.c.value).where(meta.c.key == STANDING)
        async with self._database.read() as connection:
            return str(await connection.scalar(query) or "")

    @uninterrupted
    async def standing(self, now: dt.datetime | None = None) -> Standing:
        """What was revoked, and whom UUIDs stand for, as of now."""
        revoked = sa.select(certificates.c.serial).where(
            certificates.c.revoked_at.is_not(None), certificates.c.expires_at > (now or utcnow())
        )
        async with self._database.read() as connection:
            serials = frozenset((await connection.scalars(revoked)).all())
            rows = (await connection.execute(sa.select(identities))).all()
            query = sa.select(refusals.c.issuer, refusals.c.serial).where(
                refusals.c.expires_at > (now or utcnow())
            )
            refused = (await connection.execute(query)).all()
        known = {row.uuid: row.name for row in rows}
        return Standing(serials, known, frozenset((row.issuer, row.serial) for row in refused))

    @uninterrupted
    async def adopt(self, uuid: str, name: str | None) -> None:
        """Let a UUID of the original's certificates stand for ``name``; None: for nobody."""
        async with self._database.write() as connection:
            if name is None:
                await connection.execute(sa.delete(identities).where(identities.c.uuid == uuid))
            else:
                values = {"uuid": uuid, "name": name}
                await self._database.upsert(connection, identities, ["uuid"], values)
            await self._changed(connection)

    async def _changed(self, connection: AsyncConnection) -> None:
        mark = {"key": STANDING, "value": uuid.uuid4().hex}
        await self._database.upsert(connection, meta, ["key"], mark)


async def _revoke(
    connection: AsyncConnection, serials: Collection[str], now: dt.datetime, reason: str
) -> None:
    change = sa.update(certificates).where(
        certificates.c.serial.in_(serials), certificates.c.revoked_at.is_(None)
    )
    await connection.execute(change.values(revoked_at=now, reason=reason))


async def _check_parent(connection: AsyncConnection, record: CertificateRecord) -> None:
    """The row stays locked until the end, so that a revocation sees the new certificate too."""
    if record.issued_by in ("", BY_HUB, BY_SOCKET):
        return
    query = sa.select(certificates).where(certificates.c.serial == record.issued_by)
    row = (await connection.execute(query.with_for_update())).one_or_none()
    if row is None or not _record(row).valid(record.issued_at):
        raise ParentRevoked(f"The certificate {record.issued_by} is not valid any more")


async def _check_number(connection: AsyncConnection, record: CertificateRecord, most: int) -> None:
    query = sa.select(certificates.c.revoked_at).where(
        certificates.c.name == record.name,
        certificates.c.kind == record.kind.value,
        certificates.c.expires_at > record.issued_at,
    )
    revoked = (await connection.scalars(query)).all()
    if revoked.count(None) >= most:
        raise TooManyCertificates(
            f"{record.name} has {most} valid certificates, which is the most; revoke some first."
        )
    if len(revoked) >= REMEMBERED * most:
        raise TooManyCertificates(
            f"{record.name} had {len(revoked)} certificates issued that have not expired, most of "
            "which are revoked; the admin issues further ones."
        )


def _record(row: sa.Row[tuple[object, ...]]) -> CertificateRecord:
    columns = dict(row._mapping)
    return CertificateRecord(**{**columns, "kind": CertificateKind(columns["kind"])})
