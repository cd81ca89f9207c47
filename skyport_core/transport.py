"""HTTP through the core's Unix socket: one session, retries, and errors in plain words."""

from __future__ import annotations

import asyncio
import errno
import io
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import aiohttp
from pydantic import ValidationError

from .wire import API_PREFIX, ErrorView

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two tries to reach a core that is away, at first and at most."""

SILENCE = 45.0
"""Seconds without a sign of life after which a stream counts as broken; the core gives one each
15 s."""

_READ_BUFFER = 2**18


class CoreUnavailable(Exception):
    """The core cannot be reached; the message says at which socket, why and what to look at."""


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


Query = Collection[tuple[str, str]]


class Transport:
    """Requests to one socket, from the event loop that makes the first one.

    Parameters
    ----------
    socket_path : Path
        The core's socket.
    timeout : float
        Seconds that one answer may take.
    """

    def __init__(self, socket_path: Path, timeout: float) -> None:
        self.socket_path = socket_path
        self.timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        """Close all connections; the next request opens new ones. Idempotent."""
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: str | None = None,
        wait: float,
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a successful answer, tried for ``wait`` seconds at least once.

        Raises CoreUnavailable or CoreError.
        """
        timeout = aiohttp.ClientTimeout(total=self.timeout)
        pauses = Pauses(wait)
        while True:
            try:
                async with self._response(method, path, query, body, timeout) as response:
                    return response.headers, await response.read()
            except CoreUnavailable:
                if pauses.over:
                    raise
            await pauses.sleep()

    @asynccontextmanager
    async def messages(
        self, path: str, query: Query
    ) -> AsyncIterator[AsyncGenerator[tuple[str, str], None]]:
        """The server-sent events at ``path``, each as its name and data."""
        timeout = aiohttp.ClientTimeout(total=None, connect=self.timeout, sock_read=SILENCE)
        async with (
            self._response("GET", path, query, None, timeout) as response,
            aclosing(_server_sent(response)) as messages,
        ):
            yield messages

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Query,
        body: str | None,
        timeout: aiohttp.ClientTimeout,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer; any failure, also while it is read, as one of our two errors."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._open_session().request(
                method,
                f"http://core{API_PREFIX}{path}",
                params=list(query),
                # As a file, which aiohttp sends in parts: a large body does not hold up the loop.
                data=None if body is None else io.BytesIO(body.encode()),
                headers=headers,
                timeout=timeout,
            ) as response:
                if response.status >= 400:
                    raise _refusal(response.status, await response.read())
                yield response
        except asyncio.TimeoutError as error:
            raise CoreUnavailable(
                f"The core at {self.socket_path} did not answer in time. "
                "Is skyport-core overloaded or stopped? Its log tells more."
            ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise CoreUnavailable(self._explain(error)) from error

    def _open_session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if self._session is not None and self._loop is not loop:
            if self._loop is not None and not self._loop.is_closed():
                raise RuntimeError("A CoreClient belongs to one event loop; make one for each.")
            # The loop took its connections along; there is nothing left to close.
            self._session.detach()
            self._session = None
        if self._session is None or self._session.closed:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                # No limit: each stream of events holds a connection for as long as it lasts.
                connector=aiohttp.UnixConnector(path=str(self.socket_path), limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
            )
        return self._session

    def _explain(self, error: BaseException) -> str:
        number = getattr(error, "errno", None)
        where = f"The core at {self.socket_path} cannot be reached"
        if number == errno.ENOENT:
            return (
                f"{where}: there is no such socket. "
                "Is skyport-core running, and with the same SKYPORT_HOME?"
            )
        if number == errno.ECONNREFUSED:
            return f"{where}: nobody listens at the socket. Is skyport-core running?"
        if number in (errno.EACCES, errno.EPERM):
            return (
                f"{where}: permission denied. The socket is for root, the core's own user "
                "and the allowed_users of its configuration."
            )
        cause = getattr(error, "os_error", error)
        return f"{where}: {cause or type(cause).__name__}. Is skyport-core running?"


class Pauses:
    """Growing pauses between tries, until ``wait`` seconds have passed."""

    def __init__(self, wait: float) -> None:
        self._wait = wait
        self._pause = FIRST_PAUSE
        self.restart()

    def restart(self) -> None:
        """Count the time from now, since the core was there; the pauses go on growing."""
        self._end = asyncio.get_running_loop().time() + self._wait

    @property
    def over(self) -> bool:
        """Whether no other try should be made."""
        return asyncio.get_running_loop().time() >= self._end

    async def sleep(self) -> None:
        """Pause before the next try, hardly beyond the end."""
        left = self._end - asyncio.get_running_loop().time()
        # Not for cryptography: it only keeps many clients from coming back in step.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        await asyncio.sleep(max(FIRST_PAUSE / 2, min(pause, left)))


async def _server_sent(response: aiohttp.ClientResponse) -> AsyncGenerator[tuple[str, str], None]:
    """Name and data of each server-sent event; comments and what is cut off are left out."""
    name, data = "", list[str]()
    async for raw in response.content:
        line = raw.decode().rstrip("\r\n")
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield name, "\n".join(data)
            name, data = "", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)


def _refusal(status: int, body: bytes) -> CoreError:
    try:
        error = ErrorView.model_validate_json(body).error
    except ValidationError:
        return CoreError(status, "unknown", f"The core answered with HTTP status {status}.")
    return CoreError(status, error.code, error.message, error.field)
