"""Who calls a gate server: the name in the certificate that the caller showed."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..gate import NotAuthorized


class Holders:
    """The certificates that are let in, of those that the authority has issued.

    Parameters
    ----------
    allowed : collection of str
        Common names; empty: every certificate of the authority.
    """

    def __init__(self, allowed: Collection[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def of(self, request: web.Request) -> str:
        """The common name of the caller. Raises NotAuthorized."""
        transport = request.transport
        socket = None if transport is None else transport.get_extra_info("ssl_object")
        shown = None if socket is None else socket.getpeercert(binary_form=True)
        if shown is None:
            raise NotAuthorized("No certificate was shown")
        name = common_name(x509.load_der_x509_certificate(shown))
        if self._allowed and name not in self._allowed:
            raise NotAuthorized(
                f"The certificate of {name!r} is not let in here",
                hint="Its name must stand in the server's list of allowed cores.",
            )
        return name


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject; "" if it has none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
