"""The connections to all nodes, shared by the jobs on them."""

from __future__ import annotations

import asyncio
import logging
from weakref import WeakValueDictionary

from skyport_gates.gate import Node

from .connection import ConnectionState, NodeConnection
from .dial import ConnectionSettings
from .identity import SSHIdentity


class ConnectionPool:
    """The connections of a core: one for each site, node and login, and lanes beside it.

    Parameters
    ----------
    identity : SSHIdentity
        What to log in with.
    connect_timeout, keepalive_interval, reconnect_max, idle_timeout : float
        Seconds; see :class:`~skyport_core.ssh.dial.ConnectionSettings`.
    keepalive_count : int
        Keepalives without answer after which a connection counts as lost.
    log : logging.Logger
        Where connects and losses are told.
    """

    def __init__(
        self,
        identity: SSHIdentity,
        *,
        connect_timeout: float = 10.0,
        keepalive_interval: float = 5.0,
        keepalive_count: int = 3,
        reconnect_max: float = 5.0,
        idle_timeout: float = 60.0,
        log: logging.Logger | None = None,
    ) -> None:
        self._identity = identity
        self._settings = ConnectionSettings(
            connect_timeout, keepalive_interval, keepalive_count, reconnect_max, idle_timeout
        )
        self._log = log or logging.getLogger(__name__)
        # An unused connection has no task and vanishes with its last user; a used one is held by
        # its task. So the nodes of a long history leave nothing behind.
        self._connections: WeakValueDictionary[tuple[str, str, str, int], NodeConnection] = (
            WeakValueDictionary()
        )

    def get(self, site: str, node: Node, username: str, lane: int = 0) -> NodeConnection:
        """The connection to ``node`` as ``username``; always the same object for the same four.

        ``lane`` tells several connections apart: sshd limits the sessions of each.
        """
        key = (site, node.name, username, lane)
        connection = self._connections.get(key)
        if connection is None or connection.state is ConnectionState.CLOSED:
            connection = NodeConnection(
                site, node, username, self._identity, self._settings, self._log
            )
            self._connections[key] = connection
        elif connection.node != node:
            connection.update(node)
        return connection

    async def release(self, site: str, node: Node, username: str) -> None:
        """Close the connection now unless somebody still holds or uses it."""
        connection = self._connections.get((site, node.name, username, 0))
        if connection is not None and not connection.held:
            self._connections.pop((site, node.name, username, 0), None)
            await connection.close()

    async def hang_up(self, connection: NodeConnection) -> None:
        """Close a connection, and all others to the same node and login, whoever uses them."""
        place = (connection.site, connection.node.name, connection.username)
        found = [other for key, other in self._connections.items() if key[:3] == place]
        await asyncio.gather(*(other.close() for other in {*found, connection}))

    async def close(self) -> None:
        """Close every connection and wait until nothing is left of them."""
        connections = list(self._connections.values())
        self._connections.clear()
        await asyncio.gather(*(connection.close() for connection in connections))
