"""The authority: a key that never leaves the core's home, and what it signs.

The form of the certificates follows RFC 5280, strictly enough for ``VERIFY_X509_STRICT``, which
Python 3.13 asks for.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ..model import CertificateKind
from .files import locked, replace
from .names import ORGANIZATION, Subject, distinguished_name, host_names

AUTHORITY_DAYS = 20 * 365
"""Days that the authority's own certificate is valid."""

CLOCK_SKEW = dt.timedelta(minutes=5)
"""How far another machine's clock may be behind the core's."""

SMALLEST_RSA, LARGEST_RSA = 2048, 8192

PublicKey = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey
PrivateKey = ec.EllipticCurvePrivateKey


class CertificateError(ValueError):
    """A certificate cannot be made or read; the message says why."""


@dataclass(frozen=True)
class Purpose:
    """What a certificate shall be good for.

    Attributes
    ----------
    subject
        Whom it is for.
    expires_at
        Until when; never longer than the authority's own.
    user_uuid
        What tools of the original Sky Port see as the user's UUID; None for servers.
    hosts
        Names and addresses of a server.
    """

    subject: Subject
    expires_at: dt.datetime
    user_uuid: str | None = None
    hosts: Sequence[str] = ()


class Authority:
    """Signs certificates. Made by :meth:`load`."""

    def __init__(self, key: PrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self.certificate = certificate

    @classmethod
    def load(cls, home: Path) -> Authority:
        """Read the authority from ``home/pki/authority.pem`` (0600); make it on first use.

        Key and certificate are one file, so that there is never one without the other. The
        certificate alone stands in ``ca.pem`` beside it, for all to read.

        Raises
        ------
        CertificateError
            The file is damaged.
        """
        folder = home / "pki"
        path = folder / "authority.pem"
        if not path.exists():
            with locked(folder):
                if not path.exists():
                    replace(path, _new_authority())
        path.chmod(0o600)
        authority = cls._read(path)
        public = folder / "ca.pem"
        if not public.exists() or public.read_bytes() != authority.pem:
            with locked(folder):
                replace(public, authority.pem, 0o644)
        return authority

    @classmethod
    def _read(cls, path: Path) -> Authority:
        content = path.read_bytes()
        try:
            key = serialization.load_pem_private_key(content, None)
            certificate = x509.load_pem_x509_certificate(content)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(
                f"The authority in {path} cannot be read: {error}. Restore it from a backup; "
                "without it, all certificates have to be issued anew."
            ) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateError(f"The key of the authority in {path} is not one for ECDSA.")
        return cls(key, certificate)

    @property
    def pem(self) -> bytes:
        """Its certificate, which others have to trust."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issued(self, certificate: x509.Certificate) -> bool:
        """Whether it signed a certificate."""
        try:
            certificate.verify_directly_issued_by(self.certificate)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def sign(self, public_key: PublicKey, purpose: Purpose, now: dt.datetime) -> x509.Certificate:
        """A new certificate. Raises CertificateError for a name that none can have."""
        try:
            return self._builder(public_key, purpose, now).sign(self._key, hashes.SHA256())
        except ValueError as error:
            raise CertificateError(
                f"No certificate can be made for {purpose.subject.name!r}: {error}"
            ) from error

    def revocations(self, revoked: Iterable[tuple[int, dt.datetime]], now: dt.datetime) -> bytes:
        """A list of revocations (CRL, PEM) with these serials, for those that cannot ask the core.

        It is valid for as long as the authority itself: readers look at what is in it only.
        """
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(now)
            .next_update(self.certificate.not_valid_after_utc)
        )
        for serial, since in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(since)
            builder = builder.add_revoked_certificate(entry.build())
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _builder(
        self, public_key: PublicKey, purpose: Purpose, now: dt.datetime
    ) -> x509.CertificateBuilder:
        subject = purpose.subject
        names = [x509.UniformResourceIdentifier(subject.uri), *host_names(purpose.hosts)]
        ours = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(distinguished_name(subject, purpose.user_uuid))
            .issuer_name(self.certificate.subject)
            .public_key(public_key)
            .serial_number(_new_serial())
            .not_valid_before(max(now - CLOCK_SKEW, self.certificate.not_valid_before_utc))
            .not_valid_after(min(purpose.expires_at, self.certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(_uses(subject.kind)), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(ours), critical=False
            )
        )


def new_key() -> PrivateKey:
    """A key for a certificate."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """A private key as it stands in files."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def read_request(pem: str) -> PublicKey:
    """The key of a signing request, which its sender holds; nothing else of it is looked at.

    Raises
    ------
    CertificateError
        It is no PKCS#10 request, its signature is not by the key, or the key is too weak.
    """
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        proved, key = request.is_signature_valid, request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        message = (
            "This is no signing request: it must be PKCS#10 in PEM, which begins with "
            "-----BEGIN CERTIFICATE REQUEST-----."
        )
        raise CertificateError(message) from error
    if not proved:
        raise CertificateError("The request is not signed by the key that it names.")
    return accepted_key(key)


def accepted_key(key: object) -> PublicKey:
    """A public key of a kind and a strength that certificates are made for."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(
        key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)
    ):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    if isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA <= key.key_size <= LARGEST_RSA:
        return key
    raise CertificateError(
        "The key must be ECDSA on P-256, P-384 or P-521, Ed25519, or RSA with "
        f"{SMALLEST_RSA} to {LARGEST_RSA} bits."
    )


def _uses(kind: CertificateKind) -> list[x509.ObjectIdentifier]:
    """A gate's process serves the core, and may call other gates; a server only serves."""
    both = {
        CertificateKind.SERVER: [ExtendedKeyUsageOID.SERVER_AUTH],
        CertificateKind.GATE: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    }
    return both.get(kind, [ExtendedKeyUsageOID.CLIENT_AUTH])


def _key_usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _new_serial() -> int:
    """Not to be guessed, and always as long: 32 hexadecimal digits that are easy to show."""
    return 1 << 126 | secrets.randbits(126)


def _new_authority() -> bytes:
    key = new_key()
    now = dt.datetime.now(dt.timezone.utc)
    mark = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    name = x509.Name(
        [
            # Tells several cores' authorities apart.
            x509.NameAttribute(NameOID.COMMON_NAME, f"Sky Port authority {mark.digest.hex()[:8]}"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + dt.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs=True), critical=True)
        .add_extension(mark, critical=False)
        .sign(key, hashes.SHA256())
    )
    return key_pem(key) + certificate.public_bytes(serialization.Encoding.PEM)
