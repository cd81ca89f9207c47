"""Channels of a connection that are opened in time or not at all."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from skyport_gates.timing import in_time

from .errors import CommandFailed, ForwardRefused, NodeUnreachable

if TYPE_CHECKING:
    from .connection import NodeConnection

T = TypeVar("T")


async def opened(opening: Awaitable[T], timeout: float | None, close: Callable[[T], object]) -> T:
    """What ``opening`` gives within ``timeout`` seconds; ``close`` ends what comes too late.

    The opening itself is never cancelled: asyncssh would leave a channel open that the node grants
    afterwards, and sshd counts those.

    Raises
    ------
    asyncio.TimeoutError
        The node neither grants nor refuses it in time.
    """
    task = asyncio.ensure_future(opening)

    def late(task: asyncio.Future[T]) -> None:
        if not task.cancelled() and task.exception() is None:
            close(task.result())

    try:
        return await in_time(asyncio.shield(task), timeout)
    except (asyncio.CancelledError, asyncio.TimeoutError):
        task.add_done_callback(late)
        raise


async def answers(connection: NodeConnection, host: str, port: int, timeout: float) -> bool:
    """Whether something takes connections at ``host:port`` as seen from the node.

    Raises
    ------
    NodeUnreachable
        There is no connection to the node.
    CommandFailed
        The node did not tell in time.
    ForwardRefused
        Its sshd does not forward ports.
    """
    deadline = time.monotonic() + timeout
    link = await connection.ready(timeout)
    opening = link.create_connection(asyncssh.SSHTCPSession[bytes], host, port)
    try:
        channel, _ = await opened(
            opening, deadline - time.monotonic(), lambda pair: pair[0].abort()
        )
    except asyncio.TimeoutError as error:
        raise CommandFailed(
            f"{connection} did not tell in time whether {host}:{port} is free.",
            reason="command_timeout",
            hint="The node may be overloaded, or a firewall on it may drop packets.",
        ) from error
    except asyncssh.ChannelOpenError as error:
        if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
            raise forward_refused(connection) from error
        if link.is_closed():
            raise NodeUnreachable(f"The SSH connection to {connection} broke.") from error
        return False
    channel.abort()
    return True


def forward_refused(connection: NodeConnection) -> ForwardRefused:
    """The error for a node whose sshd forwards no ports."""
    return ForwardRefused(
        f"The sshd of {connection} refuses to forward ports.",
        hint="Its sshd_config needs AllowTcpForwarding yes.",
    )
