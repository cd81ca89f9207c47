"""What the API does with certificates."""

from __future__ import annotations

import datetime as dt

from .api.services import ServiceError
from .model import CertificateKind
from .pki import DEFAULT_DAYS, CertificateError, Issuer, Register, canonical_serial
from .store import Store
from .wire import CertificateIssued, CertificateRequest, CertificateView

OWN = (CertificateKind.USER,)
"""The kinds of certificates that users see and revoke by themselves."""


class Certificates:
    """The front of the authority; see :class:`~.api.services.CertificateService`.

    Parameters
    ----------
    store : Store
        Where the records are.
    issuer : Issuer
        Signs.
    register : Register
        What the doors accept; told at once of what is revoked here.
    days : float
        How long a certificate is valid unless its request says otherwise, and at most for users.
    """

    def __init__(
        self, store: Store, issuer: Issuer, register: Register, days: float = DEFAULT_DAYS
    ) -> None:
        self.register = register
        self._store = store
        self._issuer = issuer
        self._days = days

    @property
    def authority(self) -> str:
        """The authority's certificate, PEM."""
        return self._issuer.authority.pem.decode()

    def look_again(self) -> None:
        """Ask the database what was revoked, before the next answer about any certificate."""
        self.register.forget()

    async def certificates(self, owner: str | None) -> list[CertificateView]:
        """Those of a user (None: all of everybody), the newest first."""
        kinds = None if owner is None else OWN
        records = await self._store.certificates(name=owner, kinds=kinds)
        return [CertificateView.of(record) for record in records]

    async def sign(
        self, name: str, request: CertificateRequest, *, limited: bool
    ) -> CertificateIssued:
        """A certificate for ``name``; for a user (``limited``) not longer than by default."""
        days = request.days or self._days
        if limited and days > self._days:
            message = f"days ({days}): users get certificates for {self._days:g} days at most"
            raise ServiceError(message, code="invalid", status=422, field="days")
        try:
            issued = await self._issuer.sign(
                request.csr, name, request.kind, dt.timedelta(days=days), request.hosts
            )
        except CertificateError as error:
            message = f"csr: {error}"
            raise ServiceError(message, code="invalid", status=422, field="csr") from error
        return CertificateIssued(
            certificate=CertificateView.of(issued.record),
            pem=issued.certificate.decode(),
            authority=self.authority,
        )

    async def revoke(self, serial: str, owner: str | None, reason: str) -> CertificateView | None:
        """Accept a certificate no longer, from now on; None if ``owner`` has none such."""
        known = await self._store.certificate(canonical_serial(serial))
        if known is None:
            return None
        if owner is not None and (known.name != owner or known.kind not in OWN):
            return None
        record = await self._issuer.revoke(known.serial, reason)
        self.register.forget()
        return None if record is None else CertificateView.of(record)
