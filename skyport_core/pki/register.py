"""Which certificates are accepted right now."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID

from ..model import CertificateKind, CertificateRecord
from ..store import Standing, Store
from .authority import Authority
from .issuer import issuer_of, public_bytes, serial_of
from .names import Subject, read_subject, read_uuid

FRESH = 0.25
"""Seconds for which the list of revoked certificates is taken for the present one."""

KEPT = 4096
"""Certificates that are remembered, so that their records need not be read for every request."""


class Revoked(Exception):
    """A certificate is not accepted; the message says why."""


class UnknownUUID(Revoked):
    """A certificate of the original is for a UUID that stands for nobody here."""

    def __init__(self, uuid: str) -> None:
        super().__init__(
            f"The user UUID {uuid} of your certificate is not known here; an admin can let it "
            f"stand for a user: skyport-core cert adopt {uuid} NAME"
        )
        self.uuid = uuid


@dataclass(frozen=True)
class Presented:
    """What a certificate says that somebody came in with.

    Attributes
    ----------
    ours
        Whether the core's own authority signed it; else it is one of the original's.
    subject
        Whom it is for, if it is ours and says so.
    uuid
        The user's UUID of one of the original's.
    issuer
        The name of whoever signed it.
    key
        Its public key (SubjectPublicKeyInfo, DER).
    """

    serial: str
    expires_at: dt.datetime
    ours: bool
    subject: Subject | None
    uuid: str | None
    issuer: str
    key: bytes = field(repr=False)


class Register:
    """Tells for a certificate whose chain was verified by TLS whom it lets in.

    Other processes write to the same database: what they revoke is seen within :data:`FRESH`
    seconds, what this one revokes at once after :meth:`forget`.

    Parameters
    ----------
    store : Store
        Where the records are.
    authority : Authority
        The core's own; what it did not sign is taken for the original's.
    clock : callable
        Seconds that only go up.
    """

    def __init__(
        self, store: Store, authority: Authority, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._authority = authority
        self._clock = clock
        self._records: dict[str, CertificateRecord] = {}
        self._standing = Standing(frozenset(), {})
        self._mark: str | None = None
        self._read_at = self._forgotten_at = -math.inf
        self._reading = asyncio.Lock()
        self.read = lru_cache(maxsize=KEPT)(self._read)

    def forget(self) -> None:
        """Look at the database before the next answer."""
        self._forgotten_at = self._clock()

    async def accept(self, presented: Presented) -> Subject:
        """Whom a certificate lets in.

        Raises
        ------
        Revoked
            Nobody: it has expired, was revoked, or is not on record.
        """
        if dt.datetime.now(dt.timezone.utc) >= presented.expires_at:
            raise Revoked(f"Your certificate expired at {presented.expires_at:%Y-%m-%d %H:%M} UTC.")
        standing = await self._current()
        if not presented.ours:
            return _adopted(presented, standing)
        if presented.serial in standing.revoked:
            raise Revoked(f"Your certificate {presented.serial} was revoked.")
        record = await self._record(presented.serial)
        subject = presented.subject
        if record is None or subject is None or subject != Subject(record.kind, record.name):
            raise Revoked(f"Your certificate {presented.serial} is not on record here.")
        return subject

    async def _current(self) -> Standing:
        if not self._fresh():
            async with self._reading:
                if not self._fresh():
                    started = self._clock()
                    mark = await self._store.standing_mark()
                    if mark != self._mark:
                        self._standing = await self._store.standing()
                        self._mark = mark
                    self._read_at = started
        return self._standing

    def _fresh(self) -> bool:
        return self._forgotten_at < self._read_at > self._clock() - FRESH

    async def _record(self, serial: str) -> CertificateRecord | None:
        known = self._records.get(serial)
        if known is None:
            known = await self._store.certificate(serial)
            if known is not None:
                while len(self._records) >= KEPT:
                    del self._records[next(iter(self._records))]
                self._records[serial] = known
        return known

    def _read(self, der: bytes) -> Presented:
        """What a certificate (DER) says.

        Raises Revoked if it cannot be read, or is not meant for those who call.
        """
        try:
            certificate = x509.load_der_x509_certificate(der)
            if not _for_clients(certificate):
                raise Revoked("Your certificate is not made for clients (extended key usage).")
            ours = self._authority.issued(certificate)
            return Presented(
                serial=serial_of(certificate),
                expires_at=certificate.not_valid_after_utc,
                ours=ours,
                subject=read_subject(certificate) if ours else None,
                uuid=read_uuid(certificate),
                issuer=issuer_of(certificate),
                key=public_bytes(certificate.public_key()),
            )
        except (ValueError, UnsupportedAlgorithm) as error:
            raise Revoked(f"Your certificate cannot be read: {error}") from error


def _for_clients(certificate: x509.Certificate) -> bool:
    try:
        uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return not {
        ExtendedKeyUsageOID.CLIENT_AUTH,
        ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
    }.isdisjoint(uses)


def _adopted(presented: Presented, standing: Standing) -> Subject:
    if (presented.issuer, presented.serial) in standing.refused:
        raise Revoked(f"Your certificate {presented.serial} was revoked.")
    if presented.uuid is None:
        raise Revoked("Your certificate names no user: its subject has no UUID.")
    name = standing.identities.get(presented.uuid)
    if name is None:
        raise UnknownUUID(presented.uuid)
    return Subject(CertificateKind.USER, name)
