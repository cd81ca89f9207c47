"""The Python client of the core's REST API, for the spawner, the console and other programs."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ValidationError

from .model import JobKind, JobState
from .wire import (
    API_PREFIX,
    ErrorView,
    EventView,
    FlavorList,
    FlavorView,
    Health,
    JobList,
    JobRequest,
    JobView,
    NodeList,
    NodePatch,
    NodeView,
    SiteList,
    SiteView,
)

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 1.0
"""Seconds between two tries to reach a core that is away, at first and at most."""

SILENCE = 45.0
"""Seconds without a sign of life after which a stream counts as broken; the core gives one each
15 s."""

_READ_BUFFER = 2**18

View = TypeVar("View", bound=BaseModel)


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


@dataclass(frozen=True)
class LogChunk:
    """Part of a job's log; the next part begins at byte ``next_offset``."""

    data: bytes
    next_offset: int


def default_socket(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the core's socket is: $SKYPORT_SOCKET, or core.sock in $SKYPORT_HOME.

    SKYPORT_HOME is ``~/.local/state/skyport`` when it is not set.
    """
    if environ.get("SKYPORT_SOCKET"):
        return Path(environ["SKYPORT_SOCKET"])
    home = environ.get("SKYPORT_HOME")
    return (Path(home) if home else Path("~/.local/state/skyport").expanduser()) / "core.sock"


class CoreClient:
    """Talks to a core through its Unix socket.

    A client may be made anywhere, belongs to the event loop that first uses it, and should be
    closed, by :meth:`close` or as an async context manager.

    All calls are idempotent. ``wait`` is how long, in seconds, a call goes on trying to reach a
    core that is away; with 0 it tries once. A try that has begun may take ``timeout`` on top.
    Every call raises :class:`CoreUnavailable` when the core cannot be reached and
    :class:`CoreError` when it refuses.

    Parameters
    ----------
    socket_path : path, optional
        The core's socket; None: :func:`default_socket`.
    timeout : float
        Seconds that one answer may take.
    """

    def __init__(
        self, socket_path: str | os.PathLike[str] | None = None, *, timeout: float = 30.0
    ) -> None:
        self.socket_path = Path(socket_path) if socket_path else default_socket()
        self.timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> CoreClient:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The client may be used again afterwards. Idempotent."""
        session, self._session, self._loop = self._session, None, None
        if session is not None:
            await session.close()

    async def health(self, *, wait: float = 0) -> Health:
        """Version, identity, uptime and number of jobs of the core."""
        return await self._fetch(Health, "GET", "/health", wait=wait)

    async def sites(self, *, wait: float = 0) -> list[SiteView]:
        """The sites and whether they answer."""
        return (await self._fetch(SiteList, "GET", "/sites", wait=wait)).sites

    async def flavors(self, *, wait: float = 0) -> list[FlavorView]:
        """The node types on offer."""
        return (await self._fetch(FlavorList, "GET", "/flavors", wait=wait)).flavors

    async def nodes(self, *, wait: float = 0) -> list[NodeView]:
        """The nodes with what is reserved on them."""
        return (await self._fetch(NodeList, "GET", "/nodes", wait=wait)).nodes

    async def drain(self, site: str, node: str, reason: str = "", *, wait: float = 0) -> NodeView:
        """Place no more jobs on a node; those on it go on."""
        return await self._patch_node(site, node, NodePatch(drained=True, reason=reason), wait)

    async def resume(self, site: str, node: str, *, wait: float = 0) -> NodeView:
        """Place jobs on a drained node again."""
        return await self._patch_node(site, node, NodePatch(drained=False), wait)

    async def put_job(self, job_id: str, request: JobRequest, *, wait: float = 0) -> JobView:
        """Submit a job under an id (a UUID) chosen by the caller.

        The same call again answers with the same job. CoreError 409: the id stands for something
        else; 410: it was deleted; 422: a field is not valid.
        """
        body = request.model_dump_json(exclude_defaults=True)
        return await self._fetch(JobView, "PUT", _job(job_id), body=body, wait=wait)

    async def get_job(self, job_id: str, *, wait: float = 0) -> JobView | None:
        """A job, or None when the core has none of this id that the caller may see."""
        try:
            return await self._fetch(JobView, "GET", _job(job_id), wait=wait)
        except CoreError as error:
            if error.status == 404:
                return None
            raise

    async def list_jobs(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] = (),
        kind: JobKind | None = None,
        limit: int | None = None,
        after: str | None = None,
        wait: float = 0,
    ) -> list[JobView]:
        """Jobs that match, the newest first.

        Parameters
        ----------
        owner, states, kind
            Only jobs of this owner, in one of these states, of this kind.
        limit : int, optional
            Length of the page, 1 to 1000; the core's default is 100.
        after : str, optional
            Id of the last job of the page before.
        """
        given = {
            "owner": owner,
            "kind": kind.value if kind else None,
            "limit": None if limit is None else str(limit),
            "after": after,
        }
        query = [("state", state.value) for state in states]
        query += [(name, value) for name, value in given.items() if value is not None]
        return (await self._fetch(JobList, "GET", "/jobs", query=query, wait=wait)).jobs

    async def delete_job(self, job_id: str, *, wait: float = 0) -> JobView | None:
        """Cancel a job in whatever state it is; returns at once.

        None when it was never submitted; a later ``put_job`` of the id is then refused.
        """
        _, body = await self._request("DELETE", _job(job_id), wait=wait)
        return _parse(JobView, body) if body else None

    async def log(
        self,
        job_id: str,
        stream: str = "stdout",
        *,
        offset: int = 0,
        limit: int | None = None,
        wait: float = 0,
    ) -> LogChunk:
        """Part of what a job wrote to ``stdout`` or ``stderr``, from byte ``offset`` on.

        Empty when there is no more, or nothing yet; ``limit`` (bytes) is 1 MiB unless given and
        4 MiB at most.
        """
        query = [("stream", stream), ("offset", str(offset))]
        if limit is not None:
            query.append(("limit", str(limit)))
        headers, body = await self._request("GET", f"{_job(job_id)}/log", query=query, wait=wait)
        return LogChunk(body, int(headers.get("X-Skyport-Next-Offset", offset + len(body))))

    async def events(
        self, job_id: str, *, after: int = 0, follow: bool = True, wait: float = 60.0
    ) -> AsyncGenerator[EventView, None]:
        """The events of a job, each exactly once, in order.

        Ends when the job has ended, or, without ``follow``, after the events that exist. A broken
        connection is made again, also to a core that was restarted. Close it with
        ``contextlib.aclosing`` when leaving it early.

        Parameters
        ----------
        after : int
            Number of the last event already known.
        wait : float
            Seconds that the core may be away at a time before CoreUnavailable is raised.
        """
        pauses = _Pauses(wait)
        while True:
            try:
                async with self._event_stream(job_id, after, follow) as response:
                    pauses.restart()
                    async with aclosing(_server_sent(response)) as messages:
                        async for name, data in messages:
                            if name == "end":
                                return
                            event = _parse(EventView, data)
                            after = event.seq
                            pauses = _Pauses(wait)
                            yield event
                if not follow:
                    return
            except CoreUnavailable:
                if pauses.over:
                    raise
            await pauses.sleep()

    @asynccontextmanager
    async def _event_stream(
        self, job_id: str, after: int, follow: bool
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        timeout = aiohttp.ClientTimeout(total=None, connect=self.timeout, sock_read=SILENCE)
        query = [("after", str(after)), ("follow", "true" if follow else "false")]
        async with self._response("GET", f"{_job(job_id)}/events", query, None, timeout) as answer:
            yield answer

    async def _patch_node(self, site: str, node: str, patch: NodePatch, wait: float) -> NodeView:
        path = f"/nodes/{quote(site, safe='')}/{quote(node, safe='')}"
        body = patch.model_dump_json()
        return await self._fetch(NodeView, "PATCH", path, body=body, wait=wait)

    async def _fetch(
        self,
        model: type[View],
        method: str,
        path: str,
        *,
        query: Collection[tuple[str, str]] = (),
        body: str | None = None,
        wait: float,
    ) -> View:
        _, answer = await self._request(method, path, query=query, body=body, wait=wait)
        return _parse(model, answer)

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Collection[tuple[str, str]] = (),
        body: str | None = None,
        wait: float,
    ) -> tuple[Mapping[str, str], bytes]:
        timeout = aiohttp.ClientTimeout(total=self.timeout)
        pauses = _Pauses(wait)
        while True:
            try:
                async with self._response(method, path, query, body, timeout) as response:
                    return response.headers, await response.read()
            except CoreUnavailable:
                if pauses.over:
                    raise
            await pauses.sleep()

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Collection[tuple[str, str]],
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
                data=None if body is None else body.encode(),
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
                f"{where}: permission denied. The socket is for the core's own user, root "
                "and the allowed_uids of its configuration."
            )
        return f"{where}: {error or type(error).__name__}. Is skyport-core running?"


class _Pauses:
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
        """Pause before the next try, at most until the end."""
        left = self._end - asyncio.get_running_loop().time()
        # Not for cryptography: it only keeps many clients from coming back in step.
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(2 * self._pause, LONGEST_PAUSE)
        await asyncio.sleep(max(0.0, min(pause, left)))


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


def _job(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _parse(model: type[View], body: bytes | str) -> View:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        message = (
            f"The core's answer is not a {model.__name__} as this client knows it "
            f"({error.error_count()} errors): do both come from the same release?"
        )
    raise CoreError(502, "unreadable", message)


def _refusal(status: int, body: bytes) -> CoreError:
    try:
        error = ErrorView.model_validate_json(body).error
    except ValidationError:
        return CoreError(status, "unknown", f"The core answered with HTTP status {status}.")
    return CoreError(status, error.code, error.message, error.field)
