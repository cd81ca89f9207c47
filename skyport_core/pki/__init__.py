"""The core's own certificate authority and all that is done with its certificates."""

from .authority import Authority, CertificateError, Purpose
from .issuer import DEFAULT_DAYS, Issued, Issuer, canonical_serial
from .names import URI_SCHEME, Subject, read_subject, read_uuid, subject_uuid
from .register import Presented, Register, Revoked, UnknownUUID
from .signing import Signing

__all__ = [
    "DEFAULT_DAYS",
    "URI_SCHEME",
    "Authority",
    "CertificateError",
    "Issued",
    "Issuer",
    "Presented",
    "Purpose",
    "Register",
    "Revoked",
    "Signing",
    "Subject",
    "UnknownUUID",
    "canonical_serial",
    "read_subject",
    "read_uuid",
    "subject_uuid",
]
