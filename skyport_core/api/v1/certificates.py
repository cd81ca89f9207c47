"""``/certificates``: who may come in by HTTPS."""

from __future__ import annotations

from ...wire import CertificateIssued, CertificateList, CertificateRequest, CertificateView
from ..errors import ApiError
from ..handler import ApiHandler
from ..operation import operation

PEM = "application/x-pem-file"

_NO_RIGHT = (
    "What you came in with gets you no certificate: that takes one of this core's own, or a token "
    "of a user of the hub with the scope custom:skyport:certificates."
)


class CertificatesHandler(ApiHandler):
    """``GET`` and ``POST /certificates``."""

    @operation("List your certificates; an admin those of all", answers={200: CertificateList})
    async def get(self) -> None:
        """List the caller's certificates (an admin: all), the newest first."""
        owner = None if self.caller.admin else self.caller.name
        found = await self.services.certificates.certificates(owner)
        self.reply(CertificateList(certificates=found))

    @operation(
        "Have a signing request signed: your own certificate renewed, or as an admin anybody's",
        body=CertificateRequest,
        answers={201: CertificateIssued},
        errors=(400, 409, 413, 415),
    )
    async def post(self) -> None:
        """Sign a request (PKCS#10): 201 and the certificate."""
        request = await self.read(CertificateRequest)
        signing = self.caller.signing
        if signing is None:
            raise ApiError(403, "forbidden", _NO_RIGHT)
        # Between two looks, a certificate that was just revoked might get itself a successor.
        self.services.certificates.look_again()
        if self.caller.credential and not await self.caller.credential.valid():
            raise ApiError(403, "certificate_refused", "What you came in with was revoked.")
        name = self.caller.name
        self.reply(await self.services.certificates.sign(name, request, signing), 201)


class CertificateHandler(ApiHandler):
    """``DELETE /certificates/{serial}``."""

    @operation("Revoke a certificate, at once and for good", answers={200: CertificateView})
    async def delete(self, serial: str) -> None:
        """Revoke one of the caller's certificates (an admin: any): 200 and its record.

        Those that were asked for with it are revoked too.
        """
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
