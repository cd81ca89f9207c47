"""Who calls a gate server: the name in the certificate that the caller showed."""

from __future__ import annotations

import datetime as dt
import ssl
import urllib.parse
from collections.abc import Collection
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..gate import ConfigurationError
from .errors import CallerRefused

OUR_KINDS = "skyport:"
GATE_KIND = "skyport:gate:"
"""How the alternative names of the core's own authority begin: of any, and of a gate's end."""


class Revoked:
    """The serials in a file of revocations (CRL, PEM or DER); read again when it changes.

    Raises ConfigurationError for a file that is none.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._serials: frozenset[int] = frozenset()
        self.read()

    def read(self) -> frozenset[int]:
        """The serials as they stand in the file now."""
        try:
            status = self._path.stat()
            stamp = status.st_mtime_ns, status.st_size
            if stamp != self._stamp:
                data = self._path.read_bytes()
                pem = data.lstrip().startswith(b"-----")
                load = x509.load_pem_x509_crl if pem else x509.load_der_x509_crl
                self._serials = frozenset(entry.serial_number for entry in load(data))
                self._stamp = stamp
        except (OSError, ValueError) as error:
            raise ConfigurationError(
                f"crlfile {str(self._path)!r} cannot be read: {error}"
            ) from error
        return self._serials


class Holders:
    """The certificates that are let in, of those that the authority has issued.

    Parameters
    ----------
    allowed : collection of str
        Names. A certificate of a core's own authority must be of the kind ``gate`` too: it issues
        some to users, who may be called like a core.
    revoked : Revoked, optional
        What is let in no longer.
    """

    def __init__(self, allowed: Collection[str], revoked: Revoked | None = None) -> None:
        self._allowed = frozenset(allowed)
        self._revoked = revoked

    def of(self, request: web.Request) -> str:
        """The name of the caller, for whom the door stands open now. Raises CallerRefused."""
        transport = request.transport
        socket = None if transport is None else transport.get_extra_info("ssl_object")
        shown = None if socket is None else socket.getpeercert(binary_form=True)
        if shown is None or socket is None:
            raise CallerRefused("No certificate was shown")
        certificate = x509.load_der_x509_certificate(shown)
        self._check_validity(certificate, socket)
        name = holder_name(certificate)
        if name not in self._allowed:
            told = name or common_name(certificate)
            raise CallerRefused(
                f"The certificate of {told!r} is not let in here",
                hint="It must be a gate's, and its name stand in the server's list of allowed "
                "cores.",
            )
        return name

    def _check_validity(self, certificate: x509.Certificate, socket: ssl.SSLObject) -> None:
        """A connection may stay open for longer than what it was opened with is worth."""
        shown = socket.getpeercert() or {}
        until = ssl.cert_time_to_seconds(str(shown["notAfter"]))
        if dt.datetime.now(dt.timezone.utc).timestamp() > until:
            raise CallerRefused("The certificate has expired")
        if self._revoked is not None and certificate.serial_number in self._revoked.read():
            raise CallerRefused("The certificate is revoked")


def holder_name(certificate: x509.Certificate) -> str:
    """Whom a certificate is for; "" for one of a core's own authority that is not of a gate.

    That authority names its holders in full by a URI; elsewhere the common name counts.
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return common_name(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    ours = [uri for uri in uris if uri.startswith(OUR_KINDS)]
    if not ours:
        return common_name(certificate)
    gates = [uri for uri in ours if uri.startswith(GATE_KIND)]
    if len(gates) != 1 or len(ours) != 1:
        return ""
    return urllib.parse.unquote(gates[0].removeprefix(GATE_KIND))


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject; "" if it has none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
