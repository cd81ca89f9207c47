"""What can go wrong between a program and a core, in words for people."""

from __future__ import annotations

import errno
import ssl
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from ..wire import ErrorView


class CoreUnavailable(Exception):
    """The core cannot be reached; the message says where, why and what to look at."""


class Untrusted(CoreUnavailable):
    """The core and its caller do not trust each other's certificates; waiting does not help."""


class ClientClosed(CoreUnavailable):
    """The client was closed, by another thread, while it was used."""

    def __init__(self) -> None:
        super().__init__("The client was closed before the core's answer was complete.")


class CoreError(Exception):
    """The core refused a request.

    Attributes
    ----------
    status : int
        HTTP status.
    code : str
        A word for programs.
    message : str
        For people.
    field : str or None
        Path of the field at fault.
    """

    def __init__(self, status: int, code: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field


class FileTrouble(Exception):
    """A file of this machine cannot be read or written; the message names it and says why."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"{path}: {error.strerror or error}")
        self.path = path


_PROXY_TROUBLE = (502, 503, 504)
"""What the hub's proxy answers while the core behind it is away."""

_ALERTS = {
    "CERTIFICATE_EXPIRED": (
        "the core says that your certificate has expired. Get a new one: 'skyport cert renew' "
        "while it is valid, else from the core's admin"
    ),
    "CERTIFICATE_REVOKED": (
        "the core says that your certificate was revoked. The core's admin can issue a new one"
    ),
    "UNKNOWN_CA": "the core does not know the authority that signed your certificate",
    "CERTIFICATE_REQUIRED": "the core wants a client certificate, and none was given",
    "HANDSHAKE_FAILURE": "the core refused the handshake; it wants a client certificate",
    "BAD_CERTIFICATE": "the core refused your certificate",
    "CERTIFICATE_UNKNOWN": "the core refused your certificate",
    "DECRYPT_ERROR": "the core refused your certificate",
    "WRONG_VERSION_NUMBER": "what answers there does not speak TLS",
}
"""Reasons that OpenSSL gives, by a part of their names."""

_EXPIRED, _NOT_YET, _SELF_SIGNED, _NO_ISSUER, _HOSTNAME, _ADDRESS = 10, 9, (18, 19), (2, 20), 62, 64
"""Codes of X509_V_ERR_*: https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/"""


def refusal(status: int, body: bytes, where: str) -> CoreError | CoreUnavailable:
    """The error that an answer with this status and body stands for."""
    if 300 <= status < 400:
        return CoreError(401, "unauthorized", f"{where} asks for a login: is the token still good?")
    try:
        error = ErrorView.model_validate_json(body).error
    except ValidationError:
        if status in _PROXY_TROUBLE:
            return CoreUnavailable(
                f"{where} is not reached by the proxy before it (HTTP status {status}). "
                "Is skyport-core running?"
            )
        return CoreError(status, "unknown", f"{where} answered with HTTP status {status}.")
    return CoreError(status, error.code, error.message, error.field)


def unreachable(where: str, error: BaseException, *, socket: bool) -> CoreUnavailable:
    """The error that a failed connection stands for; ``where`` names the core."""
    start = f"{where} cannot be reached"
    for cause in _chain(error):
        if isinstance(cause, aiohttp.ClientError):
            continue  # one of aiohttp's is an SSLError too, without its details
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Untrusted(f"{where} is not trusted: {_verification(cause)}.")
        if isinstance(cause, ssl.SSLError):
            return Untrusted(f"{where} and this program do not agree: {_alert(cause)}.")
    number = getattr(error, "errno", None)
    if socket and number == errno.ENOENT:
        return CoreUnavailable(
            f"{start}: there is no such socket. "
            "Is skyport-core running, and with the same SKYPORT_HOME?"
        )
    if number == errno.ECONNREFUSED:
        at = "at the socket" if socket else "there"
        return CoreUnavailable(f"{start}: nobody listens {at}. Is skyport-core running?")
    if socket and number in (errno.EACCES, errno.EPERM):
        return CoreUnavailable(
            f"{start}: permission denied. The socket is for root, the core's own user "
            "and the allowed_users of its configuration."
        )
    cause = getattr(error, "os_error", error)
    return CoreUnavailable(f"{start}: {cause or type(cause).__name__}. Is skyport-core running?")


def late(where: str) -> CoreUnavailable:
    """The error that an answer which did not come in time stands for."""
    return CoreUnavailable(
        f"{where} did not answer in time. "
        "Is skyport-core overloaded or stopped? Its log tells more."
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        inner = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
        error = inner or error.__cause__ or error.__context__


def _verification(error: ssl.SSLCertVerificationError) -> str:
    code = error.verify_code
    if code == _EXPIRED:
        return "its certificate has expired"
    if code == _NOT_YET:
        return "its certificate is not valid yet; does this machine's clock run right?"
    if code in (*_SELF_SIGNED, *_NO_ISSUER):
        return (
            "its certificate was signed by an authority that is not known here; "
            "give that of the core (skyport-core cert authority)"
        )
    if code in (_HOSTNAME, _ADDRESS):
        return f"its certificate is for another name ({error.verify_message})"
    return error.verify_message or str(error)


def _alert(error: ssl.SSLError) -> str:
    reason = (error.reason or "").upper()
    found = (words for name, words in _ALERTS.items() if name in reason)
    return next(found, reason.replace("_", " ").lower() or str(error))
