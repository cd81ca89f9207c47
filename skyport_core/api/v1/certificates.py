"""``/certificates``: who may come in by HTTPS."""

from __future__ import annotations

from ...model import CertificateKind
from ...wire import CertificateIssued, CertificateList, CertificateRequest, CertificateView
from ..caller import Caller
from ..errors import ApiError
from ..handler import ApiHandler
from ..operation import operation

PEM = "application/x-pem-file"


class CertificatesHandler(ApiHandler):
    """``GET`` and ``POST /certificates``."""

    @operation("List your certificates; an admin those of all", answers={200: CertificateList})
    async def get(self) -> None:
        """List the caller's certificates (an admin: all), the newest first."""
        owner = None if self.caller.admin else self.caller.name
        found = await self.services.certificates.certificates(owner)
        self.reply(CertificateList(certificates=found))

    @operation(
        "Have a signing request signed: for yourself, or as an admin for anybody",
        body=CertificateRequest,
        answers={201: CertificateIssued},
        errors=(400, 413, 415),
    )
    async def post(self) -> None:
        """Sign a request (PKCS#10): 201 and the certificate."""
        request = await self.read(CertificateRequest)
        name = _check(self.caller, request)
        # Between two looks, a certificate that was just revoked might get itself a successor.
        self.services.certificates.look_again()
        if self.caller.credential and not await self.caller.credential.valid():
            raise ApiError(403, "certificate_refused", "What you came in with was revoked.")
        limited = not self.caller.admin
        self.reply(await self.services.certificates.sign(name, request, limited=limited), 201)


class CertificateHandler(ApiHandler):
    """``DELETE /certificates/{serial}``."""

    @operation("Revoke a certificate, at once and for good", answers={200: CertificateView})
    async def delete(self, serial: str) -> None:
        """Revoke one of the caller's certificates (an admin: any): 200 and its record."""
        owner = None if self.caller.admin else self.caller.name
        reason = f"by {self.caller.name}"
        view = await self.services.certificates.revoke(serial, owner, reason)
        if view is None:
            message = f"There is no certificate {serial[:60]}."
            raise ApiError(404, "certificate_not_found", message)
        self.reply(view)


class AuthorityHandler(ApiHandler):
    """``GET /certificates/authority``."""

    @operation("The authority's own certificate, to be trusted by clients", answers={200: PEM})
    async def get(self) -> None:
        """Answer with the authority's certificate, PEM."""
        self.set_header("Content-Type", PEM)
        self.finish(self.services.certificates.authority)


def _check(caller: Caller, request: CertificateRequest) -> str:
    """Whom the certificate is for. Raises ApiError 403 for what only admins may ask for."""
    name = request.name or caller.name
    if caller.admin:
        return name
    if name != caller.name:
        message = f"name ({name}): only admins get certificates for others."
        raise ApiError(403, "forbidden", message, "name")
    if request.kind is not CertificateKind.USER:
        message = f"kind ({request.kind.value}): only admins get others than those of users."
        raise ApiError(403, "forbidden", message, "kind")
    if request.hosts:
        message = "hosts: only certificates of servers and gates have any."
        raise ApiError(403, "forbidden", message, "hosts")
    return name
