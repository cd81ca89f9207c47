"""How a certificate says whom it is for, ours and the original Sky Port's."""

from __future__ import annotations

import ipaddress
import urllib.parse
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.x509.oid import NameOID

from ..model import CertificateKind

URI_SCHEME = "skyport"
"""A certificate names its holder by the URI ``skyport:KIND:NAME`` in its alternative names."""

UUID_ATTRIBUTE = x509.ObjectIdentifier("2.5.29.17")
"""Attribute of the subject in which the original Sky Port keeps the user's UUID."""

ORGANIZATION = "Sky Port"

_LONGEST_CN = 64  # ub-common-name of RFC 5280
_LONGEST_DNS = 253


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for."""

    kind: CertificateKind
    name: str

    @property
    def uri(self) -> str:
        """As it stands in the certificate."""
        return f"{URI_SCHEME}:{self.kind.value}:{urllib.parse.quote(self.name, safe='')}"


def read_subject(certificate: x509.Certificate) -> Subject | None:
    """Whom a certificate of our authority is for; None if it does not say."""
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    for uri in uris:
        scheme, _, rest = uri.partition(":")
        kind, _, name = rest.partition(":")
        if scheme == URI_SCHEME and kind in {known.value for known in CertificateKind} and name:
            return Subject(CertificateKind(kind), urllib.parse.unquote(name))
    return None


def read_uuid(certificate: x509.Certificate) -> str | None:
    """The UUID in the subject of one of the original's certificates, in canonical form."""
    for attribute in certificate.subject.get_attributes_for_oid(UUID_ATTRIBUTE):
        found = canonical_uuid(str(attribute.value))
        if found is not None:
            return found
    return None


def canonical_uuid(text: str) -> str | None:
    """A UUID in lower case with hyphens; None for what is none."""
    try:
        return str(uuid.UUID(text.strip()))
    except ValueError:
        return None


def subject_uuid(core_id: str, name: str) -> str:
    """The UUID that our certificates show to tools of the original: the same for a name always."""
    return str(uuid.uuid5(uuid.UUID(core_id), name))


def distinguished_name(subject: Subject, user_uuid: str | None) -> x509.Name:
    """The certificate's subject: for people, and for tools of the original."""
    attributes = [
        x509.NameAttribute(NameOID.COMMON_NAME, subject.name[:_LONGEST_CN]),
        x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, subject.kind.value),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
    ]
    if user_uuid is not None:
        attributes.append(x509.NameAttribute(UUID_ATTRIBUTE, user_uuid))
    return x509.Name(attributes)


def host_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """Names and addresses of a server as they stand in its certificate, each once.

    Raises ValueError naming the one that is neither.
    """
    found: list[x509.GeneralName] = []
    for name in names:
        general = _host_name(name)
        if general not in found:
            found.append(general)
    return found


def read_hosts(certificate: x509.Certificate) -> list[str]:
    """The names and addresses for which a server's certificate is good."""
    names = _alternative_names(certificate)
    if names is None:
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [*names.get_values_for_type(x509.DNSName), *map(str, addresses)]


def _host_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        encoded = name.encode("idna").decode().lower()
    except UnicodeError:
        encoded = ""
    labels = encoded.removeprefix("*.").removesuffix(".").split(".")
    plain = all(part and part.replace("-", "").replace("_", "").isalnum() for part in labels)
    if not plain or len(encoded) > _LONGEST_DNS:
        raise ValueError(f"{name!r} is neither the name of a host nor an address")
    return x509.DNSName(encoded.removesuffix("."))


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return None
    return extension.value
