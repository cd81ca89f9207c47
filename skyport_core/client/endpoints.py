"""Where a core is and how a program shows who it is there."""

from __future__ import annotations

import datetime as dt
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiohttp
from cryptography import x509

from .errors import CoreUnavailable, Untrusted

HTTPS_PORT = 8443
"""Port of a core's HTTPS door unless its configuration says otherwise."""


def default_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the core's socket is: $SKYPORT_SOCKET, or core.sock in $SKYPORT_HOME.

    SKYPORT_HOME is ``~/.local/state/skyport`` when it is not set.
    """
    if environ.get("SKYPORT_SOCKET"):
        return Path(environ["SKYPORT_SOCKET"])
    home = environ.get("SKYPORT_HOME")
    return (Path(home) if home else Path("~/.local/state/skyport").expanduser()) / "core.sock"


StrPath = str | os.PathLike[str]


@dataclass(frozen=True, init=False)
class SocketEndpoint:
    """A core on this machine, by its Unix socket: the caller is the user that runs the program.

    Attributes
    ----------
    path : Path
        The socket.
    """

    path: Path

    local = True
    url = "http://core"

    def __init__(self, path: StrPath | None = None) -> None:
        object.__setattr__(self, "path", default_socket() if path is None else Path(path))

    def __str__(self) -> str:
        return str(self.path)

    def connector(self) -> aiohttp.BaseConnector:
        """A new pool of connections; no limit, since each stream holds one as long as it lasts."""
        return aiohttp.UnixConnector(path=str(self.path), limit=0)

    def headers(self) -> dict[str, str]:
        """None: the core asks the kernel who connects."""
        return {}


@dataclass(frozen=True, init=False)
class HttpsEndpoint:
    """A core's HTTPS door: the caller is who the client certificate was issued to.

    Attributes
    ----------
    address : str
        ``HOST``, ``HOST:PORT`` or ``https://HOST:PORT``; the port is 8443 unless given.
    certificate, key : Path
        PEM files; they are read again at each new connection pool.
    authority : Path
        The core's own certificate authority, PEM; no other is trusted.
    """

    address: str
    certificate: Path
    key: Path
    authority: Path

    local = False

    def __init__(
        self, address: str, certificate: StrPath, key: StrPath, authority: StrPath
    ) -> None:
        object.__setattr__(self, "address", address)
        for name, path in (("certificate", certificate), ("key", key), ("authority", authority)):
            object.__setattr__(self, name, Path(path))
        given = self.address if "://" in self.address else f"https://{self.address}"
        parts = urlsplit(given)
        named = parts.hostname and _has_port(parts)
        if parts.scheme != "https" or not named or parts.path.strip("/"):
            raise ValueError(f"{self.address!r} is not of the form HOST:PORT or https://HOST:PORT")

    @property
    def url(self) -> str:
        """``https://HOST:PORT``."""
        given = self.address if "://" in self.address else f"https://{self.address}"
        parts = urlsplit(given)
        host = parts.hostname or ""
        return f"https://{f'[{host}]' if ':' in host else host}:{parts.port or HTTPS_PORT}"

    def __str__(self) -> str:
        return self.url

    def connector(self) -> aiohttp.BaseConnector:
        """A new pool of connections. Raises CoreUnavailable when the files cannot be used."""
        return aiohttp.TCPConnector(ssl=self.tls(), limit=0)

    def tls(self) -> ssl.SSLContext:
        """What connections are made with. Raises CoreUnavailable naming the file at fault."""
        expires = _expiry(self.certificate)
        if expires <= dt.datetime.now(dt.timezone.utc):
            raise Untrusted(
                f"Your certificate {self.certificate} expired on {expires:%Y-%m-%d %H:%M} UTC. "
                "The core's admin can issue a new one."
            )
        try:
            context = ssl.create_default_context(cafile=str(self.authority))
        except (OSError, ssl.SSLError) as error:
            raise _unusable("authority's certificate", self.authority, error) from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(
                "key (or the certificate that it belongs to)", self.key, error
            ) from error
        return context

    def headers(self) -> dict[str, str]:
        """None: the certificate says who calls."""
        return {}


@dataclass(frozen=True, init=False)
class HubEndpoint:
    """A core behind JupyterHub's proxy: the caller is the owner of the hub's token.

    Attributes
    ----------
    url : str
        ``https://HUB/services/skyport``. Plain http only to this machine: the token is a secret.
    token : str
        A token of JupyterHub.
    authority : Path, optional
        Certificate authority of the hub, PEM; None: those that this machine trusts.
    """

    url: str
    token: str = field(repr=False)
    authority: Path | None = None

    local = False

    def __init__(self, url: str, token: str, authority: StrPath | None = None) -> None:
        object.__setattr__(self, "url", url)
        object.__setattr__(self, "token", token)
        object.__setattr__(self, "authority", None if authority is None else Path(authority))
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname or not _has_port(parts):
            raise ValueError(f"{self.url!r} is not of the form https://HUB/services/skyport")
        if parts.scheme == "http" and not _this_machine(parts.hostname):
            raise ValueError(f"{self.url!r}: the token would go there in the clear; use https")
        object.__setattr__(self, "url", self.url.rstrip("/"))

    def __str__(self) -> str:
        return self.url

    def connector(self) -> aiohttp.BaseConnector:
        """A new pool of connections."""
        try:
            context = ssl.create_default_context(
                cafile=str(self.authority) if self.authority else None
            )
        except (OSError, ssl.SSLError) as error:
            where = self.authority or Path()
            raise _unusable("authority's certificate", where, error) from error
        return aiohttp.TCPConnector(ssl=context, limit=0)

    def headers(self) -> dict[str, str]:
        """The token."""
        return {"Authorization": f"Bearer {self.token}"}


Endpoint = SocketEndpoint | HttpsEndpoint | HubEndpoint


def endpoint_of(where: StrPath | Endpoint | None) -> Endpoint:
    """An endpoint as it is; a path as that of a socket; None as :func:`default_socket`."""
    if where is None:
        return SocketEndpoint()
    if isinstance(where, (SocketEndpoint, HttpsEndpoint, HubEndpoint)):
        return where
    return SocketEndpoint(Path(where))


def _has_port(parts: SplitResult) -> bool:
    """Whether the port is one, or none is given."""
    try:
        return parts.port != 0
    except ValueError:
        return False


def _this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _expiry(path: Path) -> dt.datetime:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _unusable("certificate", path, error) from error
    return certificate.not_valid_after_utc


def _unusable(what: str, path: Path, error: Exception) -> CoreUnavailable:
    cause = error.strerror if isinstance(error, OSError) and error.strerror else "not valid PEM"
    if isinstance(error, ssl.SSLError):
        cause = (error.reason or "not valid PEM").replace("_", " ").lower()
    return Untrusted(f"The {what} in {path} cannot be used: {cause}.")
