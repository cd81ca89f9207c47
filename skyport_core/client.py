"""The Python client of the core's REST API, for the spawner, the console and other programs."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar
from urllib.parse import quote

from pydantic import BaseModel, ValidationError

from .model import JobKind, JobState
from .transport import CoreError, CoreUnavailable, Pauses, Transport
from .wire import (
    EventView,
    FlavorList,
    FlavorQuery,
    FlavorView,
    Health,
    ImageList,
    ImageView,
    JobList,
    JobRequest,
    JobView,
    NodeList,
    NodePatch,
    NodeView,
    PartitionList,
    PartitionView,
    QuotaList,
    QuotaView,
    SiteList,
    SiteView,
)

__all__ = ["CoreClient", "CoreError", "CoreUnavailable", "LogChunk", "default_socket"]

View = TypeVar("View", bound=BaseModel)


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
        self._transport = Transport(self.socket_path, timeout)

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
        await self._transport.close()

    async def health(self, *, wait: float = 0) -> Health:
        """Version, identity, uptime and number of jobs of the core."""
        return await self._fetch(Health, "GET", "/health", wait=wait)

    async def sites(self, *, wait: float = 0) -> list[SiteView]:
        """The sites and whether they answer."""
        return (await self._fetch(SiteList, "GET", "/sites", wait=wait)).sites

    async def flavors(
        self, query: FlavorQuery | None = None, *, limit: int | None = None, wait: float = 0
    ) -> list[FlavorView]:
        """The node types on offer, in the order that the query asks for.

        Parameters
        ----------
        query : FlavorQuery, optional
            Only what matches it, from its ``after`` on; its ``limit`` is the length of the pages
            in which the answer is fetched. None: everything.
        limit : int, optional
            At most so many; None: all that match.
        """
        asked = query or FlavorQuery()
        found: list[FlavorView] = []
        while True:
            left = asked.limit if limit is None else min(asked.limit, limit - len(found))
            page = await self.flavor_page(asked.model_copy(update={"limit": left}), wait=wait)
            found += page.flavors
            if page.next is None or (limit is not None and len(found) >= limit):
                return found
            asked = asked.model_copy(update={"after": page.next})

    async def flavor_page(self, query: FlavorQuery, *, wait: float = 0) -> FlavorList:
        """One page of :meth:`flavors`, with how many match in all and where it goes on."""
        asked = query.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        given = [(name, _argument(value)) for name, value in asked.items()]
        return await self._fetch(FlavorList, "GET", "/flavors", query=given, wait=wait)

    async def images(self, *, wait: float = 0) -> list[ImageView]:
        """The images on offer."""
        return (await self._fetch(ImageList, "GET", "/images", wait=wait)).images

    async def quotas(self, *, wait: float = 0) -> list[QuotaView]:
        """The limits of the accounts behind the sites, and what is used of them."""
        return (await self._fetch(QuotaList, "GET", "/quotas", wait=wait)).quotas

    async def partitions(self, *, owner: str | None = None, wait: float = 0) -> list[PartitionView]:
        """The nodes made for jobs that are not known to be gone, the oldest first."""
        query = [] if owner is None else [("owner", owner)]
        answer = await self._fetch(PartitionList, "GET", "/partitions", query=query, wait=wait)
        return answer.partitions

    async def delete_partition(self, name: str, *, wait: float = 0) -> PartitionView:
        """Have a partition deleted, such as a machine that was kept; returns at once.

        CoreError 409 while a job has it, 404 when there is none of this name.
        """
        path = f"/partitions/{quote(name, safe='')}"
        return await self._fetch(PartitionView, "DELETE", path, wait=wait)

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
        _, body = await self._transport.request("DELETE", _job(job_id), wait=wait)
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

        ``boot`` is what the last machine that did not come up for it printed.

        Empty when there is no more, or nothing yet; ``limit`` (bytes) is 1 MiB unless given and
        4 MiB at most.
        """
        query = [("stream", stream), ("offset", str(offset))]
        if limit is not None:
            query.append(("limit", str(limit)))
        headers, body = await self._transport.request(
            "GET", f"{_job(job_id)}/log", query=query, wait=wait
        )
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
        query = [("follow", "true" if follow else "false")]
        pauses = Pauses(wait)
        while True:
            reached, failure = False, None
            try:
                page = [*query, ("after", str(after))]
                async with self._transport.messages(f"{_job(job_id)}/events", page) as messages:
                    reached = True
                    async for name, data in messages:
                        if name == "end":
                            return
                        event = _parse(EventView, data)
                        after = event.seq
                        pauses = Pauses(wait)
                        yield event
                if not follow:
                    return
            except CoreUnavailable as error:
                failure = error
            if reached:
                # The core is away from now on, not since its last event.
                pauses.restart()
            if failure is not None and pauses.over:
                raise failure
            await pauses.sleep()

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
        _, answer = await self._transport.request(method, path, query=query, body=body, wait=wait)
        return _parse(model, answer)


def _job(job_id: str) -> str:
    return f"/jobs/{quote(job_id, safe='')}"


def _argument(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _parse(model: type[View], body: bytes | str) -> View:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        message = (
            f"The core's answer is not a {model.__name__} as this client knows it "
            f"({error.error_count()} errors): do both come from the same release?"
        )
    raise CoreError(502, "unreadable", message)
