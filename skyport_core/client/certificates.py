"""Calls about certificates, and keys that never leave this machine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from ..model import CertificateKind
from ..wire import CertificateIssued, CertificateList, CertificateRequest
from .calls import Calls
from .errors import FileTrouble

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_WITHOUT_HASH = (ed25519.Ed25519PrivateKey, ed448.Ed448PrivateKey)


class CertificateCalls(Calls):
    """Certificates that the core's authority issues."""

    async def certificates(self, *, wait: float = 0) -> CertificateList:
        """The caller's certificates; an admin's: all."""
        return await self._transport.fetch(CertificateList, "GET", "/certificates", wait=wait)

    async def issue_certificate(
        self, request: CertificateRequest, *, wait: float = 0
    ) -> CertificateIssued:
        """Have a signing request signed; :func:`signing_request` makes one.

        Tried again only while the core cannot be reached, since each answer is a certificate more.
        """
        return await self._transport.fetch(
            CertificateIssued, "POST", "/certificates", body=request, idempotent=False, wait=wait
        )

    async def revoke_certificate(self, serial: str, *, wait: float = 0) -> None:
        """Take a certificate back, at once. One that is revoked already is no error."""
        path = f"/certificates/{quote(serial, safe='')}"
        await self._transport.request("DELETE", path, wait=wait)

    async def authority(self, *, wait: float = 0) -> str:
        """The certificate of the core's authority, PEM: what clients have to trust."""
        _, body = await self._transport.request("GET", "/certificates/authority", wait=wait)
        return body.decode()

    async def renew_certificate(
        self,
        certificate: str | os.PathLike[str],
        key: str | os.PathLike[str],
        *,
        kind: CertificateKind = CertificateKind.USER,
        name: str | None = None,
        days: int | None = None,
        wait: float = 0,
    ) -> CertificateIssued:
        """Have a new certificate issued for a key, and put it in the place of the old one.

        The key stays, so that one file changes, in one step: it is the old pair or the new one.
        When there is no key yet, one is made (P-256) in a file that only its owner may read.

        Parameters
        ----------
        certificate, key : path
            PEM files.
        kind, name, days
            As in :class:`~skyport_core.wire.CertificateRequest`.

        Raises
        ------
        FileTrouble
            A file cannot be read or written, or is not what it should be.
        """
        where = Path(certificate)
        csr = await asyncio.to_thread(_request_for, Path(key))
        request = CertificateRequest(csr=csr, name=name, kind=kind, days=days)
        issued = await self.issue_certificate(request, wait=wait)
        await asyncio.to_thread(write_secretly, where, issued.pem)
        return issued


def new_key() -> str:
    """A new private key on the curve P-256, PEM (PKCS#8, not encrypted)."""
    key = ec.generate_private_key(ec.SECP256R1())
    encoded = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return encoded.decode()


def signing_request(key: str) -> str:
    """A PKCS#10 request for a private key, both PEM; the core does not look at its subject.

    Raises ValueError for what is no key without a password.
    """
    try:
        private = serialization.load_pem_private_key(key.encode(), None)
    except TypeError as error:
        raise ValueError("the key is protected by a password") from error
    if not isinstance(private, (_PrivateKey, *_WITHOUT_HASH)):
        raise ValueError("a key of this kind cannot sign requests")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "skyport")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if isinstance(private, _WITHOUT_HASH):
        csr = builder.sign(private, None)
    else:
        csr = builder.sign(private, hashes.SHA256())
    return csr.public_bytes(serialization.Encoding.PEM).decode()


def write_secretly(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all. Raises FileTrouble."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path)  # noqa: PTH105 - in one step, over what is there
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FileTrouble(path, error) from error


def _request_for(key: Path) -> str:
    try:
        if not key.exists():
            write_secretly(key, new_key())
        return signing_request(key.read_text())
    except OSError as error:
        raise FileTrouble(key, error) from error
    except ValueError as error:
        raise FileTrouble(key, OSError(0, str(error) or "it is no private key")) from error
