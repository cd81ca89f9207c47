"""One SSH connection a node and login, shared by its jobs, which comes back by itself."""

from __future__ import annotations

import asyncio
import enum
import logging
import random
import shlex
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncssh

from skyport_gates.gate import Node
from skyport_gates.timing import ended, in_time

from .channels import opened
from .commands import Commands, Completed
from .dial import ConnectionSettings, Dialled, dial
from .errors import NodeError, NodeUnreachable, StagingFailed
from .identity import SSHIdentity
from .watch import Watcher

FIRST_DELAY = 0.1
"""Seconds before the first new attempt; doubles up to ``reconnect_max``, with jitter."""

Callback = Callable[[], None]


class ConnectionState(str, enum.Enum):
    """What a :class:`NodeConnection` is doing."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    CLOSED = "closed"


class NodeConnection:
    """The connection to one node under one login.

    It is opened on first use and kept while somebody holds it (:meth:`keep`), coming back after
    every loss with growing, jittered delays. Unheld, it is closed after ``idle_timeout``.
    Get one from :class:`ConnectionPool`.
    """

    def __init__(
        self,
        site: str,
        node: Node,
        username: str,
        identity: SSHIdentity,
        settings: ConnectionSettings,
        log: logging.Logger,
    ) -> None:
        self.site = site
        self.node = node
        self.username = username
        self.state = ConnectionState.IDLE
        self.last_error: NodeError | None = None
        self.watcher = Watcher(self, log)
        self._identity = identity
        self._settings = settings
        self._log = log
        self._link: Dialled | None = None
        self._sftp: asyncssh.SFTPClient | None = None
        self._sftp_lock = asyncio.Lock()
        self._commands = Commands(self)
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._waiters: set[asyncio.Future[asyncssh.SSHClientConnection]] = set()
        self._on_connect: list[Callback] = []
        self._on_lost: list[Callback] = []
        self._holds = 0
        self._busy = 0
        self._last_used = time.monotonic()

    def __str__(self) -> str:
        return f"{self.username}@{self.site}/{self.node.name}"

    def keep(self) -> None:
        """Hold the connection open, and reopen it whenever it is lost, until :meth:`unkeep`."""
        self._holds += 1
        self._start()

    def unkeep(self) -> None:
        """Give up one :meth:`keep`."""
        self._holds -= 1
        self._last_used = time.monotonic()

    @property
    def held(self) -> bool:
        """Whether anybody keeps, uses or awaits the connection now."""
        return bool(self._holds or self._busy or self._waiters)

    def on_connect(self, callback: Callback) -> Callback:
        """Call ``callback`` after each connect; the result, when called, ends that."""
        return _subscribe(self._on_connect, callback)

    def on_lost(self, callback: Callback) -> Callback:
        """Call ``callback`` after each loss; the result, when called, ends that."""
        return _subscribe(self._on_lost, callback)

    def update(self, node: Node) -> None:
        """Take over what is now known of the node; a changed endpoint means a new connection."""
        changed = node.endpoint != self.node.endpoint
        self.node = node
        if changed:
            self._log.info("The endpoint of %s changed; connecting anew.", self)
            self._wake.set()
            if self._link is not None:
                self._link.abort()

    async def ready(self, timeout: float) -> asyncssh.SSHClientConnection:
        """Wait until the connection is up.

        Parameters
        ----------
        timeout : float
            Seconds to wait.

        Raises
        ------
        NodeError
            The cause of the last failure: at ``timeout``, or at once if it is permanent.
        """
        if self.state is ConnectionState.CLOSED:
            raise NodeUnreachable(f"The connection to {self} was closed by the core.")
        self._last_used = time.monotonic()
        if self._link is not None and not self._link.connection.is_closed():
            return self._link.connection
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        self._start()
        self._wake.set()
        try:
            return await in_time(waiter, timeout)
        except asyncio.TimeoutError as error:
            raise self.last_error or NodeUnreachable(
                f"No SSH connection to {self} within {timeout:g} s.",
                hint="Check that the machine is up and its SSH port is open to the core.",
            ) from error
        finally:
            self._waiters.discard(waiter)

    async def run(
        self,
        command: Sequence[str] | str,
        *,
        input: bytes = b"",  # noqa: A002
        timeout: float,
        prefixed: bool = False,
    ) -> Completed:
        """Run a command on the node and wait for its end.

        Parameters
        ----------
        command : sequence of str, or str
            Arguments, which are quoted; or text for the login's shell.
        input : bytes
            What the command reads from its standard input.
        timeout : float
            Seconds for connecting and running together.
        prefixed : bool
            Put the node's ``exec_prefix`` before the command.

        Raises
        ------
        NodeUnreachable
            The connection could not be made or broke in between.
        ShellRefused
            The login's shell runs no commands.
        CommandFailed
            The command did not end in time. A failing exit status is no error here.
        """
        text = command if isinstance(command, str) else shlex.join(command)
        if prefixed and self.node.exec_prefix:
            text = f"{shlex.join(self.node.exec_prefix)} {text}"
        deadline = time.monotonic() + timeout
        await self.ready(timeout)
        async with self._use():
            return await self._commands.run(text, input, deadline)

    @asynccontextmanager
    async def sftp(self, timeout: float = 30.0) -> AsyncIterator[asyncssh.SFTPClient]:
        """The connection's SFTP session, opened once and shared.

        Raises
        ------
        NodeUnreachable
            The connection could not be made or broke in between.
        StagingFailed
            The node offers no SFTP.
        """
        async with self._use():
            try:
                client = await self._sftp_client(timeout)
                try:
                    yield client
                except asyncio.TimeoutError:
                    # A request that is never answered would hold up all that come after it.
                    self._drop_sftp(client)
                    raise
            except asyncio.TimeoutError as error:
                raise StagingFailed(
                    f"A file transfer with {self} stood still.", reason="sftp_silent"
                ) from error
            except (
                asyncssh.SFTPNoConnection,
                asyncssh.SFTPConnectionLost,
                asyncssh.DisconnectError,
            ) as error:
                raise NodeUnreachable(
                    f"The SSH connection to {self} broke during a file transfer: {error}."
                ) from error

    async def close(self) -> None:
        """Close for good and wait until nothing of it is left."""
        self.state = ConnectionState.CLOSED
        await self.watcher.close()
        await ended(self._task)
        self._fail_waiters(NodeUnreachable(f"The connection to {self} was closed by the core."))

    async def _sftp_client(self, timeout: float) -> asyncssh.SFTPClient:
        async with self._sftp_lock:
            connection = await self.ready(timeout)
            if self._sftp is None:
                try:
                    opening = connection.start_sftp_client()
                    self._sftp = await opened(opening, timeout, asyncssh.SFTPClient.exit)
                except (asyncssh.ChannelOpenError, asyncssh.SFTPError) as error:
                    if connection.is_closed():
                        raise NodeUnreachable(f"The SSH connection to {self} broke.") from error
                    raise StagingFailed(
                        f"{self} offers no SFTP: {error}.",
                        reason="no_sftp",
                        hint="The node's sshd_config needs a Subsystem sftp line.",
                        permanent=True,
                    ) from error
            return self._sftp

    def _drop_sftp(self, client: asyncssh.SFTPClient) -> None:
        client.exit()
        if self._sftp is client:
            self._sftp = None

    @asynccontextmanager
    async def _use(self) -> AsyncIterator[None]:
        self._busy += 1
        try:
            yield
        finally:
            self._busy -= 1
            self._last_used = time.monotonic()

    def _start(self) -> None:
        if self._task is None and self.state is not ConnectionState.CLOSED:
            self._task = asyncio.get_running_loop().create_task(
                self._supervise(), name=f"ssh {self}"
            )

    async def _supervise(self) -> None:
        delay = FIRST_DELAY
        try:
            while self.held:
                self.state = ConnectionState.CONNECTING
                try:
                    link = await dial(
                        self.node.endpoint, self.username, self._identity, self._settings
                    )
                except NodeError as error:
                    self._failed(error)
                    if self.held:
                        await self._back_off(delay)
                    delay = min(delay * 2, self._settings.reconnect_max)
                    continue
                delay = FIRST_DELAY
                await self._stay(link)
        finally:
            self._task = None
            if self.state is not ConnectionState.CLOSED:
                self.state = ConnectionState.IDLE

    def _failed(self, error: NodeError) -> None:
        if str(error) != str(self.last_error):
            self._log.warning("%s", error.message)
            self._log.debug("The cause:", exc_info=error)
        self.last_error = error
        self.state = ConnectionState.WAITING
        if error.permanent:
            self._fail_waiters(error)

    async def _back_off(self, delay: float) -> None:
        """Wait ``delay`` with jitter; a new :meth:`ready` cuts that short, but not to nothing."""
        delay *= random.uniform(0.7, 1.3)  # noqa: S311
        self._wake.clear()
        await asyncio.sleep(min(delay, 0.5))
        if delay > 0.5:
            with suppress(asyncio.TimeoutError):
                await in_time(self._wake.wait(), delay - 0.5)

    async def _stay(self, link: Dialled) -> None:
        """From a fresh connection to its end."""
        self._link = link
        self.state = ConnectionState.CONNECTED
        self.last_error = None
        self._last_used = time.monotonic()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(link.connection)
        self._log.info("Connected to %s.", self)
        self._notify(self._on_connect)
        closed = asyncio.ensure_future(link.connection.wait_closed())
        try:
            while not await _done(closed, self._settings.idle_timeout / 4):
                idle = time.monotonic() - self._last_used
                if not self.held and idle >= self._settings.idle_timeout:
                    self._log.info("Closing the idle connection to %s.", self)
                    break
        finally:
            closed.cancel()
            self._link = None
            self._sftp = None
            self._notify(self._on_lost)
            if not link.connection.is_closed():
                await link.close()
            else:
                link.abort()
                self.last_error = NodeUnreachable(f"The SSH connection to {self} was lost.")
                self._log.warning("%s", self.last_error.message)

    def _fail_waiters(self, error: NodeError) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(error)

    def _notify(self, callbacks: list[Callback]) -> None:
        for callback in tuple(callbacks):
            try:
                callback()
            except Exception:
                self._log.exception("A listener of the connection to %s failed.", self)


def _subscribe(callbacks: list[Callback], callback: Callback) -> Callback:
    callbacks.append(callback)

    def unsubscribe() -> None:
        if callback in callbacks:
            callbacks.remove(callback)

    return unsubscribe


async def _done(future: asyncio.Future[Any], timeout: float) -> bool:
    done, _ = await asyncio.wait({future}, timeout=timeout)
    return bool(done)
