"""Certificates of a core's authority, and ones that are like the original Sky Port's."""

from __future__ import annotations

import datetime as dt
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skyport_core.model import CertificateKind, CertificateRecord
from skyport_core.pki import Issued, Issuer
from skyport_core.secretkey import load_secret_key
from skyport_core.store import Store

DAY = dt.timedelta(days=1)


@dataclass(frozen=True)
class ClientFiles:
    """What a client needs to come in by HTTPS: three files, in a folder of their own."""

    folder: Path
    record: CertificateRecord | None = None

    @property
    def key(self) -> Path:
        return self.folder / "key.pem"

    @property
    def cert(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def ca(self) -> Path:
        return self.folder / "ca.pem"

    def context(self) -> ssl.SSLContext:
        """As every Python client makes it: the server's name is checked."""
        context = ssl.create_default_context(cafile=str(self.ca))
        context.load_cert_chain(self.cert, self.key)
        return context


@asynccontextmanager
async def opened(home: Path) -> AsyncIterator[tuple[Store, Issuer]]:
    """Store and issuer of a core's home, whether a core runs there or not (SQLite)."""
    store = await Store.open(f"sqlite:///{home / 'skyport.sqlite'}", load_secret_key(home))
    try:
        yield store, await Issuer.load(store, home)
    finally:
        await store.close()


async def issue(
    home: Path,
    name: str,
    folder: Path,
    kind: CertificateKind = CertificateKind.USER,
    lifetime: dt.timedelta = DAY,
    hosts: Sequence[str] = (),
) -> ClientFiles:
    """Key, certificate and authority of a client, in ``folder``, on record at the core."""
    async with opened(home) as (_, issuer):
        issued = await issuer.issue(name, kind, lifetime, hosts)
        return write(folder, issued, issuer.authority.pem)


def write(folder: Path, issued: Issued, ca: bytes) -> ClientFiles:
    """Files of a certificate."""
    folder.mkdir(parents=True, exist_ok=True)
    files = ClientFiles(folder, issued.record)
    for path, content in (
        (files.key, issued.key),
        (files.cert, issued.certificate),
        (files.ca, ca),
    ):
        path.write_bytes(content)
        path.chmod(0o600)
    return files


async def revoke(home: Path, files: ClientFiles) -> None:
    """Revoke as another process would: by the database."""
    assert files.record is not None
    async with opened(home) as (_, issuer):
        await issuer.revoke(files.record.serial)


async def adopt(home: Path, uuid: str, name: str) -> None:
    """Let a UUID of the original's certificates stand for a user."""
    async with opened(home) as (_, issuer):
        await issuer.adopt(uuid, name)


class OriginalAuthority:
    """Grid and cluster certificates as the original Sky Port makes them, without extensions.

    ``bundle`` is what it calls ca-chain-cert.pem: the cluster's certificate and the grid's.
    """

    def __init__(self) -> None:
        self._grid_key = ec.generate_private_key(ec.SECP256R1())
        self._key = ec.generate_private_key(ec.SECP256R1())
        grid = _plain_name("grid")
        self._name = _plain_name("cluster")
        self._grid = _plain(grid, grid, self._grid_key.public_key(), self._grid_key, ca=True)
        self._cluster = _plain(self._name, grid, self._key.public_key(), self._grid_key, ca=True)

    @property
    def cluster(self) -> bytes:
        """The cluster's certificate alone, which the original's core trusts."""
        return self._cluster.public_bytes(serialization.Encoding.PEM)

    @property
    def bundle(self) -> bytes:
        return self.cluster + self._grid.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        name: str,
        uuid: str,
        folder: Path,
        server_ca: bytes,
        names: Sequence[x509.GeneralName] = (),
    ) -> ClientFiles:
        """A user's certificate: the UUID stands in its subject (OID 2.5.29.17)."""
        key = ec.generate_private_key(ec.SECP256R1())
        attributes = [
            x509.NameAttribute(x509.ObjectIdentifier("2.5.29.17"), uuid),
            x509.NameAttribute(NameOID.EMAIL_ADDRESS, f"{name}@localhost"),
        ]
        subject = x509.Name([*_plain_name(name), *attributes])
        certificate = _plain(
            subject, self._name, key.public_key(), self._key, ca=False, names=names
        )
        folder.mkdir(parents=True, exist_ok=True)
        files = ClientFiles(folder)
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files.ca.write_bytes(server_ca)
        return files


def _plain_name(name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, name),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "Dev"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Open Workload"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _plain(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    names: Sequence[x509.GeneralName] = (),
) -> x509.Certificate:
    now = dt.datetime.now(dt.timezone.utc)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=ca)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())
