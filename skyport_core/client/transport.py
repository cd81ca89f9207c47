"""HTTP to a core: one session, retries, and errors in plain words."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
)
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Any, NoReturn, Protocol, TypeVar

import aiohttp
from pydantic import BaseModel, ValidationError

from ..wire import API_PREFIX
from .endpoints import Endpoint
from .errors import CoreError, CoreUnavailable, Untrusted, late, refusal, unreachable
from .pauses import Pauses

SILENCE = 45.0
"""Seconds without a sign of life after which a stream counts as broken; the core gives one each
15 s."""

PATIENCE = 10.0
"""Seconds that a call waits at least, when the core says that it calls too often."""

_READ_BUFFER = 2**18

_HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
}

Query = Collection[tuple[str, str]]
Body = Callable[[], io.IOBase | AsyncGenerator[bytes, None]]
"""Makes what is sent, anew for each try."""

View = TypeVar("View", bound=BaseModel)
Result = TypeVar("Result")


class Socket(Protocol):
    """What is used of a WebSocket: aiohttp's own type changes with its and Python's version."""

    async def send_bytes(self, data: bytes, /) -> None:
        """Send a binary frame."""

    async def send_str(self, data: str, /) -> None:
        """Send a text frame."""

    async def receive(self) -> Any:
        """The next message, an ``aiohttp.WSMessage``."""

    async def close(self) -> bool:
        """Hang up."""


class Transport:
    """Requests to one core, from the event loop that makes the first one.

    Parameters
    ----------
    endpoint : Endpoint
        Where the core is.
    timeout : float
        Seconds that one answer may take.
    """

    def __init__(self, endpoint: Endpoint, timeout: float) -> None:
        self.endpoint = endpoint
        self.timeout = timeout
        self.where = f"The core at {endpoint}"
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        """Close all connections; the next request opens new ones. Idempotent."""
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()

    async def fetch(
        self,
        model: type[View],
        method: str,
        path: str,
        *,
        query: Query = (),
        body: BaseModel | str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
        wait: float,
    ) -> View:
        """A successful answer as ``model``; see :meth:`request`."""
        _, answer = await self.request(
            method,
            path,
            query=query,
            body=body.model_dump_json() if isinstance(body, BaseModel) else body,
            headers=headers,
            idempotent=idempotent,
            wait=wait,
        )
        return parse(model, answer)

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: Query = (),
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotent: bool = True,
        wait: float,
    ) -> tuple[Mapping[str, str], bytes]:
        """Headers and body of a successful answer, tried for ``wait`` seconds at least once.

        What is not ``idempotent`` is tried again only if it cannot have reached the core. Raises
        CoreUnavailable or CoreError.
        """
        given = dict(headers or {})
        make: Body | None = None
        if body is not None:
            data = body.encode()
            given.setdefault("Content-Type", "application/json")

            def make() -> io.IOBase:
                # As a file, which aiohttp sends in parts: a large body does not hold up the loop.
                return io.BytesIO(data)

        async def once() -> tuple[Mapping[str, str], bytes]:
            timeout = aiohttp.ClientTimeout(total=self.timeout)
            async with self.response(method, path, query, make, given, timeout) as response:
                return response.headers, await response.read()

        return await self.again(once, wait=wait, idempotent=idempotent)

    async def again(
        self,
        once: Callable[[], Awaitable[Result]],
        *,
        wait: float,
        idempotent: bool = True,
    ) -> Result:
        """The result of ``once``, called again while the core is away or asks for patience."""
        pauses, patience = Pauses(wait), Pauses(max(wait, PATIENCE))
        while True:
            try:
                return await once()
            except Untrusted:
                raise
            except Busy as error:
                if error.retry_after > patience.left:
                    raise
                await asyncio.sleep(error.retry_after)
                continue
            except CoreUnavailable as error:
                if pauses.over or not (idempotent or never_sent(error)):
                    raise
            await pauses.sleep()

    @asynccontextmanager
    async def messages(
        self, path: str, query: Query
    ) -> AsyncIterator[AsyncGenerator[tuple[str, str], None]]:
        """The server-sent events at ``path``, each as its name and data."""
        async with (
            self.response("GET", path, query, timeout=self.streaming()) as response,
            aclosing(_server_sent(response)) as messages,
        ):
            yield messages

    def streaming(self, silence: float | None = SILENCE) -> aiohttp.ClientTimeout:
        """Time limits of an answer that may take for ever as long as it goes on."""
        return aiohttp.ClientTimeout(total=None, connect=self.timeout, sock_read=silence)

    @asynccontextmanager
    async def response(
        self,
        method: str,
        path: str,
        query: Query = (),
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer; any failure, also while it is read, as one of our errors."""
        with self.plainly():
            async with self._open_session().request(
                method,
                f"{self.endpoint.url}{API_PREFIX}{path}",
                params=list(query),
                data=None if body is None else body(),
                headers=headers,
                timeout=timeout or aiohttp.ClientTimeout(total=self.timeout),
                allow_redirects=False,
            ) as response:
                if response.status >= 300:
                    raise self._refused(response, await response.read())
                yield response

    @asynccontextmanager
    async def websocket(self, path: str, query: Query = ()) -> AsyncIterator[Socket]:
        """A WebSocket; what refuses it, but not what breaks it, as one of our errors."""
        with self.plainly():
            try:
                socket = await self._open_session().ws_connect(
                    f"{self.endpoint.url}{API_PREFIX}{path}",
                    params=list(query),
                    heartbeat=SILENCE / 3,
                    max_msg_size=0,
                    timeout=aiohttp.ClientWSTimeout(ws_close=self.timeout),
                )
            except aiohttp.WSServerHandshakeError as error:
                await self._tell_refusal(path, query, error.status)
        try:
            yield socket
        finally:
            await socket.close()

    async def _tell_refusal(self, path: str, query: Query, status: int) -> NoReturn:
        """Raise what a WebSocket was refused for."""
        # aiohttp does not give the body of a refusal; the same request by hand tells why.
        async with self.response("GET", path, query, headers=_HANDSHAKE):
            pass
        raise CoreError(status, "unknown", f"{self.where} answered with HTTP status {status}.")

    @contextmanager
    def plainly(self) -> Iterator[None]:
        """Failures of connections inside the block are raised as CoreUnavailable."""
        try:
            yield
        except asyncio.TimeoutError as error:
            raise late(self.where) from error
        except (aiohttp.ClientError, OSError) as error:
            raise unreachable(self.where, error, socket=self.endpoint.local) from error

    def _refused(self, response: aiohttp.ClientResponse, body: bytes) -> Exception:
        error = refusal(response.status, body, self.where)
        pause = response.headers.get("Retry-After", "")
        if isinstance(error, CoreError) and error.status in (429, 503) and pause.isdigit():
            return Busy(error, float(pause))
        return error

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
                connector=self.endpoint.connector(),
                headers=self.endpoint.headers(),
                cookie_jar=aiohttp.DummyCookieJar(),
                read_bufsize=_READ_BUFFER,
            )
        return self._session


class Busy(CoreError):
    """The core asks for patience: seconds until it takes the call."""

    def __init__(self, error: CoreError, retry_after: float) -> None:
        super().__init__(error.status, error.code, error.message, error.field)
        self.retry_after = retry_after


def never_sent(error: CoreUnavailable) -> bool:
    """Whether the request behind an error cannot have reached the core."""
    return isinstance(error.__cause__, aiohttp.ClientConnectorError)


def parse(model: type[View], body: bytes | str) -> View:
    """An answer of the core as ``model``. Raises CoreError 502 when it is not one."""
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        message = (
            f"The core's answer is not a {model.__name__} as this client knows it "
            f"({error.error_count()} errors): do both come from the same release?"
        )
    raise CoreError(502, "unreadable", message)


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
