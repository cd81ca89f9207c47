"""Who calls a gate server: the name in the certificate that the caller showed."""

from __future__ import annotations

from collections.abc import Collection

from aiohttp import web
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..gate import NotAuthorized

OUR_KINDS = "skyport:"
GATE_KIND = "skyport:gate:"
"""How the alternative names of the core's own authority begin: of any, and of a gate's end."""


class Holders:
    """The certificates that are let in, of those that the authority has issued.

    Parameters
    ----------
    allowed : collection of str
        Common names. A certificate of a core's own authority must be of the kind ``gate`` too: it
        issues some to users, who may be called like a core.
    """

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(allowed)

    def of(self, request: web.Request) -> str:
        """The common name of the caller. Raises NotAuthorized."""
        transport = request.transport
        socket = None if transport is None else transport.get_extra_info("ssl_object")
        shown = None if socket is None else socket.getpeercert(binary_form=True)
        if shown is None:
            raise NotAuthorized("No certificate was shown")
        certificate = x509.load_der_x509_certificate(shown)
        name = common_name(certificate)
        if name not in self._allowed or not _is_of_a_gate(certificate):
            raise NotAuthorized(
                f"The certificate of {name!r} is not let in here",
                hint="Its name must stand in the server's list of allowed cores.",
            )
        return name


def _is_of_a_gate(certificate: x509.Certificate) -> bool:
    """Whether a certificate is for a gate's ends, as far as its authority tells such apart."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return True
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    ours = [uri for uri in uris if uri.startswith(OUR_KINDS)]
    return all(uri.startswith(GATE_KIND) for uri in ours)


def common_name(certificate: x509.Certificate) -> str:
    """The common name of a certificate's subject; "" if it has none."""
    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else ""
