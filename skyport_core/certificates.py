"""What the API does with certificates."""

from __future__ import annotations

import datetime as dt
import math

from .model import BY_HUB, BY_SOCKET, CertificateKind
from .pki import DEFAULT_DAYS, CertificateError, Issuer, Register, Signing, canonical_serial
from .service import ServiceError
from .store import ParentRevoked, Store, TooManyCertificates
from .wire import CertificateIssued, CertificateRequest, CertificateView

OWN = (CertificateKind.USER,)
"""The kinds of certificates that users see and revoke by themselves."""

MOST = 20
"""Valid certificates that a name may have before it gets further ones from the admin alone."""

DAY = dt.timedelta(days=1)


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
    hub_hours : float
        How long one is valid that a token of the hub got; 0: none gets any.
    """

    def __init__(
        self,
        store: Store,
        issuer: Issuer,
        register: Register,
        days: float = DEFAULT_DAYS,
        hub_hours: float = 0,
    ) -> None:
        self.register = register
        self._store = store
        self._issuer = issuer
        self._days = days
        self._hub_hours = hub_hours

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
        self, own: str, request: CertificateRequest, signing: Signing
    ) -> CertificateIssued:
        """A certificate for what the request names, else for the caller, whose name is ``own``.

        Raises ServiceError 403, 409 or 422 for what the right of ``signing`` does not cover.
        """
        name = request.name or own
        if not signing.free:
            _check(name, own, request, signing)
        lifetime = await self._lifetime(request, signing)
        try:
            issued = await self._issuer.sign(
                request.csr,
                name,
                request.kind,
                lifetime,
                request.hosts,
                signing=signing,
                most=None if signing.free else MOST,
            )
        except CertificateError as error:
            raise _invalid("csr", str(error)) from error
        except ParentRevoked as error:
            raise ServiceError(str(error), code="certificate_refused", status=403) from error
        except TooManyCertificates as error:
            raise ServiceError(str(error), code="too_many", status=409) from error
        return CertificateIssued(
            certificate=CertificateView.of(issued.record),
            pem=issued.certificate.decode(),
            authority=self.authority,
        )

    async def _lifetime(self, request: CertificateRequest, signing: Signing) -> dt.timedelta:
        if signing.free:
            return (request.days or self._days) * DAY
        longest = await self._longest(signing)
        if request.days is None:
            return longest
        if request.days * DAY > longest:
            raise _invalid("days", f"({request.days}): you get {longest / DAY:g} days at most")
        return request.days * DAY

    async def _longest(self, signing: Signing) -> dt.timedelta:
        """How long a certificate may be valid that is asked for with this right."""
        if signing.by == BY_HUB:
            if not self._hub_hours:
                raise _forbidden("Tokens of the hub get no certificates here: ask the admin.")
            return dt.timedelta(hours=self._hub_hours)
        longest = self._days * DAY
        if signing.by == BY_SOCKET:
            return longest
        known = await self._store.certificate(signing.by)
        if known is None:
            raise _forbidden(f"The certificate {signing.by} is not on record here.")
        if known.issued_by == BY_HUB:
            raise _forbidden(
                "A certificate that a token of the hub got renews nothing: get another one in the "
                "same way."
            )
        if signing.others:
            return longest
        # A renewal is no way to make a short life a long one. The end of one is in whole seconds.
        life = math.ceil((known.expires_at - known.issued_at).total_seconds())
        return min(longest, dt.timedelta(seconds=life))

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


def _check(name: str, own: str, request: CertificateRequest, signing: Signing) -> None:
    """Raises ServiceError 403 for what only callers at the core's own machine get."""
    if name != own and not signing.others:
        raise _forbidden(f"name ({name}): only admins get certificates for others.", "name")
    if request.kind is not CertificateKind.USER:
        raise _forbidden(
            f"kind ({request.kind.value}): only those of users are issued here; the others are "
            "issued at the core's machine (skyport-core cert issue).",
            "kind",
        )
    if request.hosts:
        message = "hosts: only certificates of servers and gates have any."
        raise _forbidden(message, "hosts")


def _forbidden(message: str, field: str | None = None) -> ServiceError:
    return ServiceError(message, code="forbidden", status=403, field=field)


def _invalid(field: str, message: str) -> ServiceError:
    separator = " " if message.startswith("(") else ": "
    return ServiceError(f"{field}{separator}{message}", code="invalid", status=422, field=field)
