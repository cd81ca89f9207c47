"""The certificate with which the core shows itself to its callers, and what TLS is made of."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from ..model import CertificateKind
from .authority import CertificateError
from .files import locked, replace
from .issuer import Issuer
from .names import Subject, host_names, read_hosts, read_subject

LIFETIME = dt.timedelta(days=90)
"""How long the server's certificate is valid; it is renewed when a third of that is left."""


@dataclass(frozen=True)
class ServerOptions:
    """What the HTTPS door shows and whom it trusts.

    Attributes
    ----------
    hosts
        Names and addresses by which clients know the core; empty: those of this machine.
    certfile, keyfile
        A certificate of the admin's own, with its chain; None: one of the core's authority.
    client_ca_file
        Further authorities (PEM) whose client certificates are accepted: the original's.
    lifetime
        Of a certificate of the core's authority.
    """

    hosts: tuple[str, ...] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    client_ca_file: Path | None = None
    lifetime: dt.timedelta = LIFETIME


class ServerIdentity:
    """Makes the TLS context of the door, and makes it anew when what it is made of changes.

    Parameters
    ----------
    issuer : Issuer
        Issues the server's certificate.
    home : Path
        Where it is kept: ``pki/server.pem``, key and certificate in one file.
    options : ServerOptions
        What else it shows and trusts.
    """

    def __init__(self, issuer: Issuer, home: Path, options: ServerOptions) -> None:
        self._issuer = issuer
        self._path = home / "pki" / "server.pem"
        self._options = options
        self._made_of: tuple[object, ...] = ()

    async def context(self) -> ssl.SSLContext:
        """A new context. Raises CertificateError naming the file that cannot be used."""
        await self._renew()
        made_of = self._state()
        context = await asyncio.to_thread(self._make)
        self._made_of = made_of
        return context

    async def changed(self) -> ssl.SSLContext | None:
        """A new context if it would be another one now; else None. Raises as above."""
        await self._renew()
        return None if self._state() == self._made_of else await self.context()

    async def _renew(self) -> None:
        """See to it that the certificate of our authority is good for a while."""
        if self._options.certfile is not None or self._good():
            return
        hosts = self._options.hosts or own_hosts()
        issued = await self._issuer.issue(
            hosts[0], CertificateKind.SERVER, self._options.lifetime, hosts
        )
        with locked(self._path.parent):
            replace(self._path, issued.key + issued.certificate)

    def _good(self) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self._path.read_bytes())
        except (OSError, ValueError):
            return False
        hosts = self._options.hosts or own_hosts()
        left = certificate.not_valid_after_utc - dt.datetime.now(dt.timezone.utc)
        return (
            left > self._options.lifetime / 3
            and self._issuer.authority.issued(certificate)
            and read_subject(certificate) == Subject(CertificateKind.SERVER, hosts[0])
            and set(host_names(read_hosts(certificate))) == set(host_names(hosts))
        )

    def _state(self) -> tuple[object, ...]:
        """Changes whenever one of the files does."""
        options = self._options
        files = (options.certfile or self._path, options.keyfile, options.client_ca_file)
        found: list[object] = []
        for path in files:
            with contextlib.suppress(OSError):
                status = path.stat() if path else None
                found.append(status and (status.st_ino, status.st_mtime_ns, status.st_size))
        return tuple(found)

    def _make(self) -> ssl.SSLContext:
        options = self._options
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.verify_mode = ssl.CERT_REQUIRED
        # Every connection proves anew who it is.
        context.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        context.load_verify_locations(cadata=self._issuer.authority.pem.decode())
        if options.client_ca_file is not None:
            with _using(options.client_ca_file, "client_ca_file"):
                context.load_verify_locations(cafile=str(options.client_ca_file))
            # The original's core trusts its cluster's certificate without the grid's above it.
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        certfile = options.certfile or self._path
        with _using(certfile, "https_certfile"):
            # A password that is none, since nobody is there to be asked for one.
            context.load_cert_chain(certfile, options.keyfile, password="")
        return context


@contextlib.contextmanager
def _using(path: Path, option: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ssl.SSLError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        hint = "" if option == "client_ca_file" else " It must belong to the key, without password."
        raise CertificateError(f"{option}: {path} cannot be used: {reason}.{hint}") from error


def own_hosts() -> tuple[str, ...]:
    """The names and addresses by which clients may know this machine."""
    names = [socket.getfqdn(), socket.gethostname(), "localhost", "127.0.0.1", "::1"]
    usable = []
    for name in names:
        with contextlib.suppress(ValueError):
            host_names([name])
            usable.append(name)
    return tuple(dict.fromkeys(usable))
