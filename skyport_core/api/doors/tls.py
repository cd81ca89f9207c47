"""HTTPS, for those who hold a certificate: users, admins and hubs, on any machine."""

from __future__ import annotations

import asyncio
import logging
import ssl
from dataclasses import dataclass, field

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application

from skyport_gates.timing import ended

from ...caller import Caller
from ...model import CertificateKind
from ...pki import CertificateError, Presented, Register, Revoked, Signing, Subject, UnknownUUID
from ...pki.server import ServerIdentity, ServerOptions
from ..errors import ApiError
from ..handler import Running
from ..limits import MAX_HEADERS
from .server import IDLE_TIMEOUT, MAX_DRAIN, Caps, DoorError, DoorServer, close_server

CHECK_INTERVAL = 30.0
"""Seconds between two looks at the files of certificates, and at the end of the server's own."""

log = logging.getLogger("skyport.api")


@dataclass(frozen=True)
class HttpsOptions:
    """Where HTTPS is served (address "": all of this machine), and how."""

    address: str
    port: int
    server: ServerOptions
    caps: Caps = field(default_factory=Caps)


@dataclass(frozen=True)
class CertificateCredential:
    """A client certificate in the hands of a caller."""

    presented: Presented
    subject: Subject
    register: Register = field(repr=False, compare=False)

    @property
    def key(self) -> str:
        """Names the certificate."""
        issuer = "" if self.presented.ours else f"{self.presented.issuer}-"
        return f"certificate-{issuer}{self.presented.serial}"

    async def valid(self) -> bool:
        """Whether it still lets in whom it let in at first."""
        try:
            return await self.register.accept(self.presented) == self.subject
        except Revoked:
            return False


class CertificateIdentity:
    """Knows the caller by the client certificate of the connection.

    Parameters
    ----------
    register : Register
        Tells which certificates are accepted.
    """

    schemes = ("mutualTLS",)

    def __init__(self, register: Register) -> None:
        self._register = register

    async def __call__(self, request: HTTPServerRequest) -> Caller:
        """The caller. Raises ApiError 403 for a certificate that lets nobody in."""
        try:
            presented = self._register.read(_certificate(request))
            subject = await self._register.accept(presented)
        except UnknownUUID as error:
            raise ApiError(403, "unknown_uuid", str(error)) from None
        except Revoked as error:
            raise ApiError(403, "certificate_refused", str(error)) from None
        if not subject.kind.person:
            message = f"A certificate of the kind {subject.kind.value} does not let anybody in."
            raise ApiError(403, "certificate_refused", message)
        hub = subject.kind is CertificateKind.HUB
        return Caller(
            name=subject.name,
            admin=hub or subject.kind is CertificateKind.ADMIN,
            may_name_owner=hub,
            # All users of a hub come in as one.
            trusted=hub,
            peer=request.remote_ip,
            credential=CertificateCredential(presented, subject, self._register),
            signing=_signing(presented, subject),
        )


class TlsDoor:
    """A port that is being served by HTTPS. Made by :func:`tls_door`."""

    def __init__(
        self,
        server: HTTPServer,
        application: Application,
        identity: ServerIdentity,
        *,
        port: int,
        interval: float,
    ) -> None:
        self.port = port
        self.running: Running = application.settings["running"]
        self._application = application
        self._server = server
        self._identity = identity
        self._renewing = asyncio.create_task(self._renew(interval), name="server certificate")

    async def close(self) -> None:
        """Stop serving and end what is open. Idempotent."""
        await ended(self._renewing)
        await close_server(self._server, self._application)

    async def _renew(self, interval: float) -> None:
        """Show new connections the certificate that is the right one now."""
        while True:
            await asyncio.sleep(interval)
            try:
                context = await self._identity.changed()
            except CertificateError as error:
                log.error("The HTTPS door goes on with its old certificates: %s", error)
                continue
            except Exception:
                log.exception("The certificates of the HTTPS door could not be looked at")
                continue
            if context is not None:
                log.info("The HTTPS door has new certificates")
                self._server.ssl_options = context


async def tls_door(
    application: Application,
    register: Register,
    identity: ServerIdentity,
    address: str,
    port: int,
    *,
    interval: float = CHECK_INTERVAL,
    caps: Caps | None = None,
) -> TlsDoor:
    """Serve the API by HTTPS to holders of client certificates.

    Parameters
    ----------
    application : Application
        Made by :func:`~..application.make_application`, and served by this door only.
    register : Register
        Tells which certificates are accepted.
    identity : ServerIdentity
        Makes the TLS context.
    address : str
        Of this machine, or a name; "": all, IPv4 and IPv6.
    port : int
        Where to listen.
    interval : float
        Seconds between two looks at the certificates' files.
    caps : Caps, optional
        How many connections may be open. None: any number.

    Raises
    ------
    DoorError
        The port is not to be had, or a certificate cannot be used.
    """
    try:
        context = await identity.context()
    except CertificateError as error:
        raise DoorError(str(error)) from error
    try:
        sockets = bind_sockets(port, address or None, backlog=1024)
    except OSError as error:
        raise DoorError(
            f"Cannot listen on {address or '*'}:{port} (https_address, https_port): "
            f"{error.strerror or error}."
        ) from error
    application.settings["identify"] = CertificateIdentity(register)
    server = DoorServer(
        application,
        caps=caps,
        ssl_options=context,
        max_body_size=MAX_DRAIN,
        max_header_size=MAX_HEADERS,
        idle_connection_timeout=IDLE_TIMEOUT,
    )
    server.add_sockets(sockets)
    bound = int(sockets[0].getsockname()[1])
    return TlsDoor(server, application, identity, port=bound, interval=interval)


def _signing(presented: Presented, subject: Subject) -> Signing | None:
    """What the holder of a certificate may have signed with it: what an original's user may not."""
    if not presented.ours:
        return None
    if subject.kind is CertificateKind.USER:
        return Signing(presented.serial, key=presented.key)
    return Signing(presented.serial, others=True)


def _certificate(request: HTTPServerRequest) -> bytes:
    try:
        der = request.get_ssl_certificate(binary_form=True)
    except (AttributeError, ssl.SSLError, ValueError):
        der = None  # the connection is closed already
    if not isinstance(der, bytes):
        raise Revoked("The connection was closed before its certificate was looked at.")
    return der
