"""Issuing certificates, on record."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from ..model import CertificateKind, CertificateRecord
from ..store import Store
from .authority import (
    Authority,
    CertificateError,
    PublicKey,
    Purpose,
    accepted_key,
    key_pem,
    new_key,
    read_request,
)
from .names import Subject, canonical_uuid, read_hosts, read_subject, subject_uuid
from .signing import Signing

AT_HOME = Signing()
"""The right of whoever works at the core's own machine."""

DEFAULT_DAYS = 365.0
"""Days that a certificate is valid unless said otherwise."""


@dataclass(frozen=True)
class Issued:
    """A certificate that was just made; the parts are PEM.

    Attributes
    ----------
    record
        What is kept of it.
    certificate
        For its holder to show.
    key
        For its holder alone; empty when the holder had one already.
    """

    record: CertificateRecord
    certificate: bytes
    key: bytes = b""


class Issuer:
    """Issues, renews and revokes certificates; the record comes first.

    Parameters
    ----------
    store : Store
        Where the records are.
    authority : Authority
        Signs.
    core_id : str
        Identity of the core.
    """

    def __init__(self, store: Store, authority: Authority, core_id: str) -> None:
        self.authority = authority
        self._store = store
        self._core_id = core_id

    @classmethod
    async def load(cls, store: Store, home: Path) -> Issuer:
        """The issuer of a home. Raises CertificateError if its authority is damaged."""
        return cls(store, Authority.load(home), await store.core_id())

    async def issue(
        self,
        name: str,
        kind: CertificateKind = CertificateKind.USER,
        lifetime: dt.timedelta | None = None,
        hosts: Sequence[str] = (),
    ) -> Issued:
        """A new key with a certificate.

        Parameters
        ----------
        name : str
            Whom it is for.
        kind : CertificateKind
            What they are.
        lifetime : timedelta, optional
            How long it is valid; default: a year.
        hosts : sequence of str
            Names and addresses of a server or a gate; default: its name.

        Raises
        ------
        CertificateError
            A name cannot stand in a certificate.
        """
        key = new_key()
        record, certificate = await self._sign(
            key.public_key(), Subject(kind, name), lifetime, hosts
        )
        return Issued(record, certificate, key_pem(key))

    async def sign(
        self,
        request: str,
        name: str,
        kind: CertificateKind = CertificateKind.USER,
        lifetime: dt.timedelta | None = None,
        hosts: Sequence[str] = (),
        *,
        signing: Signing = AT_HOME,
        most: int | None = None,
    ) -> Issued:
        """A certificate for the key of a signing request (PEM).

        Raises CertificateError, and ``ParentRevoked`` and ``TooManyCertificates`` of the store.

        Parameters
        ----------
        signing : Signing
            The right of whoever asks.
        most : int, optional
            How many valid certificates the name may have, with this one.
        """
        key = read_request(request)
        if signing.key is not None and public_bytes(key) != signing.key:
            raise CertificateError(
                "The request is for another key than that of the certificate you came in with; a "
                "renewal is for the same key, and the admin issues certificates for new ones."
            )
        subject = Subject(kind, name)
        return Issued(*await self._sign(key, subject, lifetime, hosts, signing.by, most))

    async def renew(self, pem: bytes, lifetime: dt.timedelta | None = None) -> Issued:
        """A certificate for the same key and subject as an earlier one, which stays valid.

        Since it is for the same key, it is revoked with the earlier one.
        Raises CertificateError for one that this authority did not issue, or that was revoked.
        """
        try:
            old = x509.load_pem_x509_certificate(pem)
        except ValueError as error:
            raise CertificateError(f"This is no certificate in PEM: {error}") from error
        subject = read_subject(old)
        if subject is None or not self.authority.issued(old):
            raise CertificateError("This certificate is not of this core's authority.")
        known = await self._store.certificate(serial_of(old))
        if known is None or known.revoked_at is not None:
            raise CertificateError(
                f"The certificate {serial_of(old)} of {subject.name} was revoked; issue a new one."
            )
        key = accepted_key(old.public_key())
        return Issued(*await self._sign(key, subject, lifetime, read_hosts(old), known.serial))

    async def revoke(self, serial: str, reason: str = "") -> CertificateRecord | None:
        """Accept a certificate no longer, nor those that were asked for with it.

        Returns its record, or None if there is none. Idempotent.
        """
        return await self._store.revoke_certificate(canonical_serial(serial), reason)

    async def revoke_all(
        self, name: str, reason: str = "", kinds: Collection[CertificateKind] | None = None
    ) -> list[CertificateRecord]:
        """Revoke all valid certificates of a name; their records."""
        now = dt.datetime.now(dt.timezone.utc)
        done = []
        for record in await self._store.certificates(name=name, kinds=kinds):
            if record.revoked_at is None and record.expires_at > now:
                revoked = await self._store.revoke_certificate(record.serial, reason)
                done += [revoked] if revoked else []
        return done

    async def revoke_original(self, pem: bytes, reason: str = "") -> tuple[str, str]:
        """Accept one certificate of the original no longer; its issuer and serial. Idempotent.

        Raises CertificateError for what is none.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            issuer, serial = issuer_of(certificate), serial_of(certificate)
            expires_at = certificate.not_valid_after_utc
        except ValueError as error:
            raise CertificateError(f"This is no certificate in PEM: {error}") from error
        if self.authority.issued(certificate):
            raise CertificateError(
                f"This certificate is of the core's own authority: revoke it by its serial {serial}"
            )
        await self._store.refuse_original(issuer, serial, expires_at, reason)
        return issuer, serial

    async def adopt(self, user_uuid: str, name: str | None) -> str:
        """Let the original's certificates with a UUID stand for a user (None: for nobody).

        Returns the UUID in canonical form. Raises CertificateError for what is no UUID.
        """
        found = canonical_uuid(user_uuid)
        if found is None:
            raise CertificateError(f"{user_uuid!r} is no UUID")
        await self._store.adopt(found, name)
        return found

    async def _sign(
        self,
        key: PublicKey,
        subject: Subject,
        lifetime: dt.timedelta | None,
        hosts: Sequence[str],
        issued_by: str = "",
        most: int | None = None,
    ) -> tuple[CertificateRecord, bytes]:
        if subject.kind.serves and not hosts:
            hosts = (subject.name,)
        now = dt.datetime.now(dt.timezone.utc)
        user_uuid = subject_uuid(self._core_id, subject.name) if subject.kind.person else None
        expires = _later(now, lifetime or dt.timedelta(days=DEFAULT_DAYS))
        certificate = self.authority.sign(key, Purpose(subject, expires, user_uuid, hosts), now)
        record = CertificateRecord(
            serial_of(certificate),
            subject.kind,
            subject.name,
            now,
            certificate.not_valid_after_utc,
            issued_by=issued_by,
        )
        await self._store.add_certificate(record, most)
        return record, certificate.public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: x509.Certificate) -> str:
    """A certificate's serial number as it is on record."""
    return f"{certificate.serial_number:x}"


def issuer_of(certificate: x509.Certificate) -> str:
    """The name of whoever signed a certificate (RFC 4514)."""
    return certificate.issuer.rfc4514_string()


def public_bytes(key: CertificatePublicKeyTypes) -> bytes:
    """A public key in the one form in which two can be compared."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def canonical_serial(text: str) -> str:
    """A serial number as it is on record, from how tools show it: upper case, with colons."""
    return text.replace(":", "").strip().lower().removeprefix("0x").lstrip("0")


def _later(now: dt.datetime, lifetime: dt.timedelta) -> dt.datetime:
    try:
        return now + lifetime
    except OverflowError:
        raise CertificateError("A certificate cannot be valid for that long.") from None
