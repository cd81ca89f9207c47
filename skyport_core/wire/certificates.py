"""Certificates of those who call."""

from __future__ import annotations

import dataclasses
import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from ..model import CertificateKind, CertificateRecord, Name

__all__ = [
    "CertificateIssued",
    "CertificateKind",
    "CertificateList",
    "CertificateRequest",
    "CertificateView",
]


class CertificateView(BaseModel):
    """A certificate that the core's authority has issued."""

    serial: str = Field(description="In hexadecimal.")
    kind: CertificateKind
    name: str
    issued_at: dt.datetime
    expires_at: dt.datetime
    revoked_at: dt.datetime | None = None
    reason: str = ""
    issued_by: str = Field(
        "",
        description="Serial of the certificate that asked for it, and that is revoked with it; "
        "'hub': a token of the hub; 'socket': a user of the core's socket; empty: the admin.",
    )

    @classmethod
    def of(cls, record: CertificateRecord) -> CertificateView:
        """What the API shows of a record."""
        return cls(**dataclasses.asdict(record))


class CertificateList(BaseModel):
    """``GET /api/v1/certificates``."""

    certificates: list[CertificateView]


class CertificateRequest(BaseModel):
    """Body of ``POST /api/v1/certificates``: a signing request; its subject is not looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    csr: str = Field(min_length=1, max_length=65536, description="PKCS#10, PEM.")
    name: Name | None = Field(None, description="Whom it is for; only admins may name another.")
    kind: CertificateKind = CertificateKind.USER
    days: int | None = Field(None, ge=1, le=3650, description="null: the core's default.")
    hosts: tuple[Name, ...] = Field(
        (),
        max_length=64,
        description="Names and addresses of a server or a gate; none: its name. Admins only.",
    )


class CertificateIssued(BaseModel):
    """Answer to it: the certificate and the authority's own, both PEM."""

    certificate: CertificateView
    pem: str
    authority: str
