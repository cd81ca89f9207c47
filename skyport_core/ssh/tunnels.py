"""Ports carried over a node's SSH connection, in both directions, across its losses."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import time
from collections.abc import Callable
from contextlib import suppress

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_CONNECT_FAILED

from skyport_gates.timing import ended, in_time

from .connection import NodeConnection
from .errors import AddressInUse, ForwardRefused, NodeError, NodeUnreachable
from .splice import MAX_PACKET, WINDOW, Splice

Address = tuple[str, int]

NODE_LOOPBACK = "127.0.0.1"
BACKLOG = 512
PORT_RETRY = 0.3
"""Seconds between attempts to get a port back that sshd still holds for a dead connection."""

BORROW_PATIENCE = 1.0
"""Seconds after which what answers at a port is used as it is, where that is wanted."""

OBTAIN_AGAIN = 5.0
"""Seconds between attempts to take over a port that something else has."""


class InTunnel:
    """A port near the core that leads to a port of the node.

    Parameters
    ----------
    connection : NodeConnection
        What carries it; the tunnel keeps it connected.
    listen : (str, int)
        Where to listen; port 0 takes any free one.
    target : (str, int)
        Where each connection goes, as seen from the node.
    wait : float
        Seconds that an accepted connection waits for SSH while that is away.
    fallback : (str, int), optional
        Where a connection goes if nothing answers at ``target``.
    """

    def __init__(
        self,
        connection: NodeConnection,
        listen: Address,
        target: Address,
        wait: float = 90.0,
        log: logging.Logger | None = None,
        *,
        fallback: Address | None = None,
    ) -> None:
        self.listen = listen
        self.target = target
        self.fallback = fallback
        self.last_error: NodeError | None = None
        self._connection = connection
        self._wait = wait
        self._log = log or logging.getLogger(__name__)
        self._server: asyncio.AbstractServer | None = None
        self._splices: dict[Splice, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Start to listen, at once, whether SSH is up or not.

        Raises
        ------
        AddressInUse
            The address is taken or does not exist on this machine.
        """
        if self._server is not None:
            return
        loop = asyncio.get_running_loop()
        listener = _bind(self.listen)
        self.listen = listener.getsockname()[:2]
        self._server = await loop.create_server(self._accepted, sock=listener, backlog=BACKLOG)
        self._connection.keep()

    async def close(self) -> None:
        """Stop listening and drop what the tunnel carries; returns when all is gone."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        self._connection.unkeep()
        splices = list(self._splices.items())
        for splice, task in splices:
            task.cancel()
            splice.abort()
        await asyncio.gather(*(task for _, task in splices), return_exceptions=True)
        await asyncio.gather(*(splice.closed.wait() for splice, _ in splices))
        await server.wait_closed()

    @property
    def count(self) -> int:
        """Connections that it carries now."""
        return len(self._splices)

    def _accepted(self) -> asyncio.BufferedProtocol:
        splice = Splice()
        task = asyncio.get_running_loop().create_task(self._carry(splice))
        self._splices[splice] = task
        splice.on_closed = self._forget
        return splice.near

    def _forget(self, splice: Splice) -> None:
        task = self._splices.pop(splice, None)
        if task is not None:
            task.cancel()

    async def _carry(self, splice: Splice) -> None:
        deadline = time.monotonic() + self._wait
        try:
            while not await self._connect(splice, deadline):
                pass
        except NodeError as error:
            self.last_error = error
            self._log.debug("A connection to %s:%d was dropped: %s", *self.target, error)
            splice.abort()
        except asyncssh.ChannelOpenError as error:
            self._log.debug("Nothing answers at %s:%d of the node: %s", *self.target, error)
            splice.abort()

    async def _connect(self, splice: Splice, deadline: float) -> bool:
        """Open the channel; False if SSH was lost meanwhile, so that another try makes sense."""
        connection = await self._connection.ready(max(0.0, deadline - time.monotonic()))
        targets = [self.target] if self.fallback is None else [self.target, self.fallback]
        for target in targets:
            try:
                await connection.create_connection(
                    lambda: splice.far, *target, window=WINDOW, max_pktsize=MAX_PACKET
                )
            except asyncssh.ChannelOpenError as error:
                if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
                    raise ForwardRefused(
                        f"The sshd of {self._connection} refuses to forward ports.",
                        hint="Its sshd_config needs AllowTcpForwarding yes.",
                    ) from error
                if connection.is_closed():
                    return False
                if target is targets[-1]:
                    raise
            else:
                break
        return True


class OutTunnel:
    """A port on the node's 127.0.0.1 that leads to a service near the core.

    Parameters
    ----------
    connection : NodeConnection
        What carries it; the tunnel keeps it connected.
    dest : (str, int)
        Where each connection goes, as seen from the core.
    port : int
        The node's port; 0 lets sshd choose. It stays the same across reconnects.
    borrow : bool
        If something else listens at the given port, let the job use that; the port is taken over
        when it is free.
    """

    def __init__(
        self,
        connection: NodeConnection,
        dest: Address,
        port: int = 0,
        log: logging.Logger | None = None,
        *,
        borrow: bool = False,
    ) -> None:
        self.dest = dest
        self.port = port
        self.borrow = borrow and port != 0
        self.borrowed = False
        self._connection = connection
        self._log = log or logging.getLogger(__name__)
        self._listener: asyncssh.SSHListener | None = None
        self._splices: set[Splice] = set()
        self._renewal: asyncio.Task[None] | None = None
        self._unsubscribe: list[Callable[[], None]] = []
        self._open = False
        self.up = asyncio.Event()
        """Set while the node's port is listened on."""

    @property
    def count(self) -> int:
        """Connections that it carries now."""
        return len(self._splices)

    async def open(self, timeout: float = 30.0) -> int:
        """Have the node's sshd listen.

        Parameters
        ----------
        timeout : float
            Seconds for connecting and for waiting until a given port is free.

        Returns
        -------
        int
            The port on the node's 127.0.0.1.

        Raises
        ------
        ForwardRefused
            The node's sshd does not forward ports.
        AddressInUse
            The given port is taken by something else.
        NodeUnreachable
            There is no connection.
        """
        if self._open:
            return self.port
        self._connection.keep()
        try:
            end = time.monotonic() + timeout
            if self.borrow:
                await self._connection.ready(timeout)
                # sshd may still hold the port for a connection that died: only time tells.
                end = min(end, time.monotonic() + BORROW_PATIENCE)
            await self._obtain(end)
        except AddressInUse:
            if not self.borrow:
                self._connection.unkeep()
                raise
            self.borrowed = True
            self._renew()
        except BaseException:
            self._connection.unkeep()
            raise
        self._open = True
        self._unsubscribe = [
            self._connection.on_connect(self._renew),
            self._connection.on_lost(self._lost),
        ]
        return self.port

    async def close(self) -> None:
        """Have the node's sshd stop listening and drop what the tunnel carries."""
        if not self._open:
            return
        self._open = False
        for unsubscribe in self._unsubscribe:
            unsubscribe()
        await self._stop_renewal()
        self.up.clear()
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
            with suppress(asyncio.TimeoutError):
                await in_time(listener.wait_closed(), 5)
        splices = list(self._splices)
        for splice in splices:
            splice.abort()
        await asyncio.gather(*(splice.closed.wait() for splice in splices))
        self._connection.unkeep()

    async def _stop_renewal(self) -> None:
        renewal, self._renewal = self._renewal, None
        await ended(renewal)

    def _lost(self) -> None:
        self.up.clear()
        self._listener = None

    def _renew(self) -> None:
        if self._renewal is not None:
            self._renewal.cancel()
        self._renewal = asyncio.get_running_loop().create_task(self._obtain_again())

    async def _obtain_again(self) -> None:
        while not self.up.is_set():
            try:
                await self._obtain(time.monotonic() + (PORT_RETRY if self.borrowed else 30))
            except NodeUnreachable:
                return
            except NodeError as error:
                if not self.borrowed:
                    self._log.warning("%s", error.message)
                await asyncio.sleep(OBTAIN_AGAIN)

    async def _obtain(self, deadline: float) -> None:
        while True:
            left = max(0.0, deadline - time.monotonic())
            connection = await self._connection.ready(left)
            listener = await self._request(connection, self.port)
            if listener is not None:
                self._listener, self.port = listener, listener.get_port()
                self.borrowed = False
                self.up.set()
                return
            if connection.is_closed():
                continue
            await self._check_forwarding(connection)
            if left <= PORT_RETRY:
                raise AddressInUse(
                    f"Port {self.port} of {self._connection} is taken.",
                    hint="Another program on the node listens there.",
                )
            await asyncio.sleep(PORT_RETRY)

    async def _check_forwarding(self, connection: asyncssh.SSHClientConnection) -> None:
        """A refusal has no reason: see whether sshd would give any other port."""
        probe = await self._request(connection, 0) if self.port else None
        if probe is not None:
            probe.close()
            await probe.wait_closed()
        elif not connection.is_closed():
            raise ForwardRefused(
                f"The sshd of {self._connection} refuses to forward ports back to the core.",
                hint="Its sshd_config needs AllowTcpForwarding yes.",
            )

    async def _request(
        self, connection: asyncssh.SSHClientConnection, port: int
    ) -> asyncssh.SSHListener | None:
        try:
            return await connection.create_server(
                self._accepted, NODE_LOOPBACK, port, window=WINDOW, max_pktsize=MAX_PACKET
            )
        except (asyncssh.ChannelListenError, asyncssh.Error):
            return None

    async def _accepted(self, _host: str, _port: int) -> asyncssh.SSHTCPSession[bytes]:
        splice = Splice()
        self._splices.add(splice)
        splice.on_closed = self._splices.discard
        loop = asyncio.get_running_loop()
        try:
            await loop.create_connection(lambda: splice.near, *self.dest)
        except OSError as error:
            self._splices.discard(splice)
            raise asyncssh.ChannelOpenError(OPEN_CONNECT_FAILED, str(error)) from error
        return splice.far


def _bind(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        name = f"{address[0]}:{address[1]}"
        if error.errno == errno.EADDRNOTAVAIL:
            hint = "The address does not exist on this machine; configure another tunnel address."
        elif error.errno == errno.EADDRINUSE:
            hint = "Another program listens there; stop it or use another address."
        else:
            hint = ""
        raise AddressInUse(
            f"The core cannot listen on {name}: {error.strerror}.", hint=hint
        ) from error
    return listener


__all__ = ["InTunnel", "OutTunnel"]
