"""A job's live ties to its node: connection, tunnels, runner and exit watch.

Nothing here is stored; after a restart of the core it is all made again from the job's row.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..model import Job, JobKind
from ..settings import Settings
from ..sites import Sites
from ..ssh.connection import ConnectionState, NodeConnection
from ..ssh.errors import AddressInUse, NodeUnreachable
from ..ssh.pool import ConnectionPool
from ..ssh.runner import Runner
from ..ssh.tunnels import NODE_LOOPBACK, Address, InTunnel, OutTunnel
from ..ssh.watch import Notice
from ..wire import TunnelView
from .ties import listen_candidates, tunnel_views

NOTICE_LATE, NOTICE_RANGE = 5.0, 900.0
"""Seconds that the end of a node may be past or ahead, for a notice of it to be believed."""


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


@dataclass(frozen=True)
class Place:
    """Where a job is in one of its attempts."""

    attempt: int
    site: str | None
    node: str | None
    partition: str | None

    @classmethod
    def of(cls, job: Job) -> Place:
        """The place of a job."""
        return cls(job.attempt, job.site, job.node, job.partition)


@dataclass
class Attachment:
    """The ties of one job. Every ``open_`` method may be called again without harm.

    ``place`` is where it leads; ``notice`` says that the node is to be taken away; ``warn`` is
    called when that is heard.
    """

    job_id: str
    owner: str
    place: Place
    connection: NodeConnection
    runner: Runner
    settings: Settings
    wake: Callable[[], None]
    warn: Callable[[], None]
    notice: Notice | None = None
    forwards: dict[str, OutTunnel] = field(default_factory=dict)
    listener: InTunnel | None = None
    more: dict[int, InTunnel] = field(default_factory=dict)
    _lost_since: float | None = None
    _unsubscribe: list[Callable[[], None]] = field(default_factory=list)
    _unwatch: Callable[[], None] | None = None
    _exit_callback: Callable[[], None] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        connected = self.connection.state is ConnectionState.CONNECTED
        self._lost_since = None if connected else time.monotonic()
        self._unsubscribe = [
            self.connection.on_connect(self._connected),
            self.connection.on_lost(self._lost),
            self.connection.watcher.on_notice(self._noticed),
        ]
        self.connection.keep()

    def _connected(self) -> None:
        self._lost_since = None
        self.wake()

    def _lost(self) -> None:
        if self._lost_since is None:
            self._lost_since = time.monotonic()
        self.wake()

    def _noticed(self, notice: Notice) -> None:
        # What is over was for a machine that slept since; what is far away is a jest.
        if not -NOTICE_LATE < notice.end - time.time() < NOTICE_RANGE:
            return
        known, self.notice = self.notice, notice
        if known is None:
            self.warn()

    def lost_for(self) -> float | None:
        """Seconds since the connection went away; None while it stands."""
        return None if self._lost_since is None else time.monotonic() - self._lost_since

    async def open_forwards(self, job: Job) -> dict[str, int]:
        """Carry the named services to the node; the port of each on the node's 127.0.0.1.

        Where something else has a port that the job insists on, the job uses that: see
        :meth:`borrowed`.
        """
        async with self._lock:
            for name, address in job.spec.forwards.items():
                if name not in self.forwards:
                    self.forwards[name] = await self._open_forward(job, name, address)
            return {name: tunnel.port for name, tunnel in self.forwards.items()}

    async def _open_forward(self, job: Job, name: str, address: str) -> OutTunnel:
        wanted = job.spec.forward_ports.get(name)
        port = wanted or job.forward_ports.get(name, 0)
        tunnel = OutTunnel(self.connection, _split(address), port, borrow=wanted is not None)
        await tunnel.open()
        if tunnel.borrowed and await self.runner.address_free(NODE_LOOPBACK, port):
            await tunnel.close()
            raise AddressInUse(
                f"The login {self.connection} gets no port {port} on its node, which forward "
                f"{name} of the job asks for, and nothing answers there",
                hint="Ports below 1024 need root; ask for another in forward_ports.",
            )
        return tunnel

    def borrowed(self) -> str:
        """What to tell of forwards whose ports something else has; "" if there are none."""
        told = [
            f"{name} (port {tunnel.port})"
            for name, tunnel in self.forwards.items()
            if tunnel.borrowed
        ]
        if not told:
            return ""
        return f"Something on {self.place.node} has the port of {', '.join(told)}; it is used as is"

    async def open_listener(self, job: Job) -> tuple[str, int] | None:
        """Listen at the core for the job's ports; where for the first, None if it has none."""
        async with self._lock:
            for place, port in enumerate(job.spec.ports):
                if port != job.spec.port and port not in self.more:
                    listen = listen_candidates(job, port, place, self.settings)
                    self.more[port] = await self._listen(job, port, listen)
            if job.spec.port is None:
                return None
            if self.listener is None:
                listen = [job.listen or self._listen_address(job, job.spec.port)]
                self.listener = await self._listen(job, job.spec.port, listen)
            return self.listener.listen

    async def _listen(self, job: Job, port: int, addresses: list[Address]) -> InTunnel:
        """Listen at the first of the addresses that is free."""
        # A server is told its address. On a node shared with others, its port of 127.0.0.1 may
        # be somebody else's server, to which nobody's cookies must go.
        told = port == job.spec.port and job.spec.kind is JobKind.SERVER
        for address in addresses:
            tunnel = InTunnel(
                self.connection,
                listen=address,
                target=(job.node_address, port),
                wait=self.settings.tunnel_wait,
                fallback=None if told else (NODE_LOOPBACK, port),
            )
            try:
                await tunnel.open()
            except AddressInUse:
                if address is addresses[-1]:
                    raise
            else:
                break
        return tunnel

    def _listen_address(self, job: Job, port: int) -> tuple[str, int]:
        if not self.settings.tunnel_address:
            return job.core_address, port
        first, last = self.settings.tunnel_ports
        return self.settings.tunnel_address, first + job.number % (last - first + 1)

    def tunnels(self) -> list[TunnelView]:
        """The ports that are carried now."""
        return tunnel_views(self)

    def watch(self) -> None:
        """Have the node report the job's exit, and its own."""
        if self._unwatch is None:
            self._unwatch = self.connection.watcher.subscribe(self.job_id, self._exited)

    def on_exit(self, callback: Callable[[], None] | None) -> None:
        """Call ``callback`` too when the node reports something; None: no longer."""
        self._exit_callback = callback

    def _exited(self) -> None:
        if self._exit_callback is not None:
            self._exit_callback()
        self.wake()

    async def close(self) -> None:
        """Close the tunnels and let go of the connection."""
        async with self._lock:
            if self._unwatch is not None:
                self._unwatch()
                self._unwatch = None
            for unsubscribe in self._unsubscribe:
                unsubscribe()
            self._unsubscribe.clear()
            if self.listener is not None:
                await self.listener.close()
                self.listener = None
            for listener in self.more.values():
                await listener.close()
            self.more.clear()
            for tunnel in self.forwards.values():
                await tunnel.close()
            self.forwards.clear()
            self.connection.unkeep()


class Attachments:
    """The attachments of all jobs that have a node.

    Parameters
    ----------
    pool, sites
        Where connections and nodes come from.
    wake
        Called with a job's id when its node has something to say.
    warn
        Called with a job's id when its node is to be taken away.
    """

    def __init__(
        self,
        pool: ConnectionPool,
        sites: Sites,
        settings: Settings,
        wake: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._pool = pool
        self._sites = sites
        self._settings = settings
        self._wake = wake
        self._warn = warn
        self._attachments: dict[str, Attachment] = {}
        self._closing: dict[asyncio.Task[None], str] = {}

    async def get(self, job: Job) -> Attachment:
        """The job's attachment, made at the first call; does not wait for the node.

        One of an earlier attempt is closed first. Raises NodeUnreachable when the site does not
        (or not yet) know the node, and when the job has gone on to another since it was read.
        """
        attachment = await self._present(job)
        if attachment is not None:
            return attachment
        if job.site is None or job.node is None or job.username is None:
            raise RuntimeError(f"job {job.id} has no place in state {job.state}")
        node = await self._sites.find_node(job.site, job.node, job.partition)
        if node is None:
            raise NodeUnreachable(f"Site {job.site} does not show a node {job.node}")
        attachment = await self._present(job)
        if attachment is None:
            connection = self._pool.get(job.site, node, job.username)
            attachment = Attachment(
                job.id,
                job.owner,
                Place.of(job),
                connection,
                Runner(connection, job.id),
                self._settings,
                lambda: self._wake(job.id),
                lambda: self._warn(job.id),
            )
            self._attachments[job.id] = attachment
        return attachment

    async def _present(self, job: Job) -> Attachment | None:
        """The job's attachment, once nothing is left of one that led elsewhere."""
        await self._closed(job.id)
        while (attachment := self._attachments.get(job.id)) is not None:
            if attachment.place == Place.of(job):
                return attachment
            if attachment.place.attempt > job.attempt:
                raise NodeUnreachable(f"Job {job.id} is not on {job.node} any more")
            await self.close(job.id, hang_up=attachment.place.partition is not None)
        return None

    def tunnels(self, owner: str | None) -> list[TunnelView]:
        """The ports that are carried for the jobs of an owner (None: of all)."""
        return [
            view
            for attachment in self._attachments.values()
            if owner in (None, attachment.owner)
            for view in attachment.tunnels()
        ]

    def has(self, job_id: str) -> bool:
        """Whether the job has an attachment now."""
        return job_id in self._attachments

    async def drop(self, job: Job) -> None:
        """Close what the job has open at this place, which it has left."""
        attachment = self._attachments.get(job.id)
        if attachment is not None and attachment.place == Place.of(job):
            await self.close(job.id)

    def notice(self, job_id: str) -> Notice | None:
        """What was heard of the end of the job's node."""
        attachment = self._attachments.get(job_id)
        return None if attachment is None else attachment.notice

    def trouble(self, job_id: str) -> str:
        """Why the job's node could not be reached the last time; "" if it could."""
        attachment = self._attachments.get(job_id)
        error = None if attachment is None else attachment.connection.last_error
        return "" if error is None else error.message

    async def close(self, job_id: str, *, hang_up: bool = False) -> None:
        """Close what the job has open; nothing happens if it has none.

        It is seen through even if the caller is cancelled, and a second call waits for it too.
        ``hang_up``: the node goes too, so nothing of it may be used again by its name.
        """
        attachment = self._attachments.pop(job_id, None)
        if attachment is not None:
            closing = asyncio.create_task(self._close(attachment, hang_up))
            self._closing[closing] = job_id
            closing.add_done_callback(self._closing.pop)
        await self._closed(job_id)

    async def _closed(self, job_id: str) -> None:
        """Return when nothing of the job's is being closed any more."""
        closing = [task for task, whose in self._closing.items() if whose == job_id]
        if closing:
            await asyncio.shield(asyncio.gather(*closing))

    async def _close(self, attachment: Attachment, hang_up: bool) -> None:
        await attachment.close()
        connection = attachment.connection
        others = (other.connection for other in self._attachments.values())
        if hang_up and all(other is not connection for other in others):
            await self._pool.hang_up(connection)

    async def close_all(self) -> None:
        """Close everything; the jobs on the nodes go on."""
        for job_id in list(self._attachments):
            await self.close(job_id)
        await asyncio.gather(*self._closing, return_exceptions=True)
