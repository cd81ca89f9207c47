"""TLS with certificates on both sides."""

from __future__ import annotations

import ssl
from pathlib import Path

from ..gate import ConfigurationError


def client_context(cafile: str, certfile: str, keyfile: str) -> ssl.SSLContext:
    """For a caller: the server must be known to ``cafile``; we show our certificate.

    Raises ConfigurationError naming the file that is at fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _load(context, cafile, certfile, keyfile)
    return context


def server_context(cafile: str, certfile: str, keyfile: str) -> ssl.SSLContext:
    """For a server: only callers with a certificate of ``cafile`` come in.

    Raises ConfigurationError naming the file that is at fault.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED
    # With session tickets a caller could come back without showing its certificate.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    _load(context, cafile, certfile, keyfile)
    return context


def _load(context: ssl.SSLContext, cafile: str, certfile: str, keyfile: str) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, value in (("cafile", cafile), ("certfile", certfile), ("keyfile", keyfile)):
        if not value:
            raise ConfigurationError(f"{name} is not set; allowed: the path of a PEM file")
        if not Path(value).is_file():
            raise ConfigurationError(f"{name} is {value!r}, but there is no such file")
    try:
        context.load_verify_locations(cafile=cafile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"cafile {cafile!r} holds no certificates: {error}") from error
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"certfile {certfile!r} and keyfile {keyfile!r} do not fit together: {error}"
        ) from error
