"""HTTP with a remote gate: one session, a deadline, and errors of the Gate contract."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import aiohttp
from pydantic import ValidationError

from ..bodies import whole
from ..gate import GateError, GateUnavailable, NotAuthorized
from .errors import ErrorAnswer, error_of

SILENCE = 45.0
"""Seconds without a sign of life after which a stream counts as broken."""


class Link:
    """Requests to one server.

    Parameters
    ----------
    base : str
        ``https://HOST:PORT``; paths are put behind it as they are.
    context : callable
        Makes the TLS context when the first connection is opened; it may raise GateError.
    timeout : float
        Seconds that one answer may take.
    """

    def __init__(self, base: str, context: Callable[[], ssl.SSLContext], timeout: float) -> None:
        self.base = base.rstrip("/")
        self._context = context
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close all connections; the next request opens new ones. Idempotent."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def request(
        self, method: str, path: str, body: str | None = None, *, timeout: float | None = None
    ) -> bytes:
        """The body of a successful answer.

        Raises the GateError that the server answered with, GateUnavailable when there is no
        answer, and NotAuthorized when one of the two sides refuses the other's certificate.
        """
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout)
        async with self.answer(method, path, body, limit) as response:
            return await whole(response)

    @asynccontextmanager
    async def answer(
        self, method: str, path: str, body: str | None, timeout: aiohttp.ClientTimeout
    ) -> AsyncGenerator[aiohttp.ClientResponse, None]:
        """A successful answer, to be read; all that goes wrong meanwhile is a GateError."""
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            async with self._open().request(
                method,
                self.base + path,
                data=body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise _refusal(response.status, await whole(response), self.base)
                yield response
        except asyncio.TimeoutError as error:
            raise GateUnavailable(
                f"The gate at {self.base} did not answer in time", hint="It is asked again."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _explained(error, self.base) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._context(), limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


def _explained(error: BaseException, base: str) -> GateError:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or error.certificate_error
        return NotAuthorized(
            f"The certificate of the gate at {base} is not accepted: {why}",
            hint="Check the site's cafile, and the name in its url.",
        )
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)) or "alert" in str(error):
        return NotAuthorized(
            f"The gate at {base} refuses our certificate",
            hint="Check the site's certfile: its authority, its expiry, and whether it is revoked.",
        )
    if isinstance(error, aiohttp.ServerDisconnectedError):
        # With TLS 1.3 a server may refuse a certificate only after the handshake, by hanging up.
        return GateUnavailable(
            f"The gate at {base} hung up",
            hint="It is asked again. If this goes on, it may refuse our certificate (certfile).",
        )
    return GateUnavailable(
        f"The gate at {base} cannot be reached: {error or type(error).__name__}",
        hint="It is asked again.",
    )


def _refusal(status: int, body: bytes, base: str) -> GateError:
    try:
        return error_of(ErrorAnswer.model_validate_json(body).error)
    except ValidationError:
        return GateUnavailable(f"The gate at {base} answered with HTTP status {status}")
