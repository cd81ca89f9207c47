"""Certificates that the core's authority issued."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass

BY_HUB = "hub"
"""Stands for the issuer of what was asked for with a token of the hub."""

BY_SOCKET = "socket"
"""Stands for the issuer of what a user asked for whom the admin lets use the Unix socket."""


class CertificateKind(str, enum.Enum):
    """Whom a certificate is for."""

    SERVER = "server"
    USER = "user"
    ADMIN = "admin"
    HUB = "hub"
    GATE = "gate"

    @property
    def serves(self) -> bool:
        """Whether its holder is connected to, under names of hosts."""
        return self in (CertificateKind.SERVER, CertificateKind.GATE)

    @property
    def person(self) -> bool:
        """Whether its holder calls the API."""
        return not self.serves


@dataclass(frozen=True)
class CertificateRecord:
    """What is kept of a certificate; only certificates on record are accepted.

    Attributes
    ----------
    serial
        In hexadecimal, lower case, without leading zeros.
    name
        Whom it is for: a user, a hub, a gate, or the first name of a server.
    revoked_at, reason
        Since when it is not accepted any more, and why; None while it is.
    issued_by
        Serial of the certificate with which it was asked for, and that takes it along when it is
        revoked; :data:`BY_HUB` for a token of the hub; :data:`BY_SOCKET` for one of the
        ``allowed_users``; empty: the admin at the core's machine.
    """

    serial: str
    kind: CertificateKind
    name: str
    issued_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None = None
    reason: str = ""
    issued_by: str = ""

    def valid(self, now: dt.datetime) -> bool:
        """Whether it is accepted."""
        return self.revoked_at is None and self.expires_at > now
