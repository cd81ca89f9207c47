"""Programs on a node that somebody talks to, and connections to its ports, as streams of bytes."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED, OPEN_REQUEST_PTY_FAILED

from .channels import forward_refused, opened
from .commands import end
from .connection import NodeConnection
from .errors import CommandFailed, NodeUnreachable
from .pool import ConnectionPool

if TYPE_CHECKING:
    from asyncssh.channel import SSHChannel

TIMEOUT = 15.0
"""Seconds to reach the node and to open something there."""

PART = 64 * 2**10
"""Bytes read at once."""

WINDOW = 2**20
"""Bytes in flight towards the core, and what it holds at most for a slow reader."""

PATIENCE = 5.0
"""Seconds for what was sent to a program or port that does not read, before it is dropped."""

LANES = 8
"""Connections for programs to one node and login, at most."""

PER_LANE = 8
"""Programs on one of them; sshd allows 10 sessions by default (MaxSessions)."""

STDOUT, STDERR = 1, 2

NODE_LOOPBACK = "127.0.0.1"

ENTER = """
id=$1 folder=$2 kind=$3
shift 3
cd -- "$HOME" || exit 71
own=.skyport/jobs/$id/.runner/job.sh
if [ -r "$own" ]; then . "./$own"; environment; fi
SKYPORT_JOB_ID=$id
export SKYPORT_JOB_ID
if [ -n "$folder" ]; then cd -- "$folder" || echo "The working directory is not there yet." >&2; fi
[ "$kind" = program ] && exec "$@"
exec "$@" "${SHELL:-/bin/sh}" -l
"""
"""Enters a job's environment and working directory. Its mark in the environment has the runner end
with the job whatever was started here. Values come from the job's own file, never by an argv."""


@dataclass(frozen=True)
class Terminal:
    """A terminal that a program gets."""

    kind: str
    columns: int
    rows: int


def enter_job(job_id: str, folder: str, prefix: Sequence[str], command: Sequence[str]) -> str:
    """A line for the login's shell that runs ``command``, or that shell, as if in the job.

    Parameters
    ----------
    folder
        Where to go first; relative to the login's home, "" for that itself.
    prefix
        The node's ``exec_prefix``.
    command
        Program and arguments; none: a login shell.
    """
    kind = "program" if command else "shell"
    return shlex.join(["exec", "sh", "-c", ENTER, "sh", job_id, folder, kind, *prefix, *command])


def _hang_up(channel: SSHChannel[bytes], patience: float = PATIENCE) -> None:
    """Close a channel when what was sent is out, or when that takes too long."""
    if not channel.get_write_buffer_size():
        channel.close()
    elif patience > 0:
        asyncio.get_running_loop().call_later(0.1, _hang_up, channel, patience - 0.1)
    else:
        channel.abort()


class Program:
    """A program that runs on a node."""

    def __init__(
        self, process: asyncssh.SSHClientProcess[bytes], streams: int, release: Callable[[], None]
    ) -> None:
        self._process = process
        self._release = release
        self._heard: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(1)
        readers = [process.stdout, process.stderr][:streams]
        self._left = len(readers)
        self._pumps = [
            asyncio.create_task(self._pump(number, reader))
            for number, reader in enumerate(readers, STDOUT)
        ]
        self._closed = False

    async def read(self) -> tuple[int, bytes]:
        """What comes next, and from which stream; waits for it. Empty: all have ended."""
        while self._left:
            stream, data = await self._heard.get()
            if data:
                return stream, data
            self._left -= 1
        return 0, b""

    async def write(self, data: bytes) -> None:
        """Send input; returns once there is room for more. What nobody reads is dropped."""
        with suppress(OSError, asyncssh.Error):
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def write_eof(self) -> None:
        """End the program's input."""
        with suppress(OSError, asyncssh.Error):
            self._process.stdin.write_eof()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        with suppress(OSError, asyncssh.Error):
            self._process.change_terminal_size(columns, rows)

    async def end(self) -> tuple[int | None, str | None]:
        """Exit status, and the signal that ended the program; both None if its node was lost."""
        await self._process.wait_closed()
        signal = self._process.exit_signal
        status = self._process.exit_status
        if signal is not None:
            return self._process.returncode, signal[0]
        return (status, None) if status is not None and status >= 0 else (None, None)

    def close(self) -> None:
        """Hang up: a program with a terminal gets SIGHUP, any other the end of its input."""
        if self._closed:
            return
        self._closed = True
        for pump in self._pumps:
            pump.cancel()
        with suppress(OSError, asyncssh.Error):
            if self._process.exit_status is None:
                # sshd leaves a program without terminal alone when its channel is closed.
                self._process.send_signal("HUP")
        _hang_up(self._process.channel)
        self._release()

    async def _pump(self, stream: int, reader: asyncssh.SSHReader[bytes]) -> None:
        data = b"."
        while data:
            try:
                data = await reader.read(PART)
            except (OSError, asyncssh.Error):
                data = b""
            await self._heard.put((stream, data))


class Programs:
    """Runs programs on connections of their own, so that they take no session of the core's.

    Parameters
    ----------
    pool
        Where the connections come from.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._open: Counter[tuple[str, str, str, int]] = Counter()

    async def start(
        self, like: NodeConnection, line: str, terminal: Terminal | None = None
    ) -> Program:
        """Run a line of the login's shell.

        Parameters
        ----------
        like
            A connection to the node and login.
        terminal
            Give it one; then its error output comes with its output.

        Raises
        ------
        NodeUnreachable
            The connection could not be made.
        CommandFailed
            The node opens no more sessions, or gives no terminal.
        """
        for lane in range(1, LANES + 1):
            key = (like.site, like.node.name, like.username, lane)
            if self._open[key] >= PER_LANE:
                continue
            connection = self._pool.get(like.site, like.node, like.username, lane)
            self._open[key] += 1
            connection.keep()

            def release(connection: NodeConnection = connection, key: object = key) -> None:
                connection.unkeep()
                self._open[key] -= 1  # type: ignore[index]
                self._open += Counter()

            try:
                process = await _start(connection, line, terminal)
            except BaseException as error:
                release()
                if isinstance(error, _Full):
                    continue
                raise
            return Program(process, 1 if terminal else 2, release)
        raise CommandFailed(
            f"{like} opens no more sessions.",
            reason="sessions",
            hint="Close a terminal, or raise MaxSessions in the node's sshd_config.",
        )


class _Full(Exception):
    """sshd opens no more sessions on this connection."""


async def _start(
    connection: NodeConnection, line: str, terminal: Terminal | None
) -> asyncssh.SSHClientProcess[bytes]:
    deadline = time.monotonic() + TIMEOUT
    link = await connection.ready(TIMEOUT)
    screen: dict[str, Any] = {}
    if terminal is not None:
        screen = {"term_type": terminal.kind, "term_size": (terminal.columns, terminal.rows)}
    opening = link.create_process(line, encoding=None, window=WINDOW, **screen)
    try:
        return await opened(opening, deadline - time.monotonic(), end)
    except asyncio.TimeoutError as error:
        raise CommandFailed(
            f"{connection} did not open a session in time.",
            reason="command_timeout",
            hint="The node may be overloaded.",
        ) from error
    except asyncssh.ChannelOpenError as error:
        if link.is_closed():
            raise NodeUnreachable(f"The SSH connection to {connection} broke.") from error
        if error.code == OPEN_REQUEST_PTY_FAILED:
            raise CommandFailed(
                f"{connection} gives no terminals.",
                reason="no_terminal",
                hint="Ask without one (tty=false), or have its sshd_config say PermitTTY yes.",
            ) from error
        raise _Full from error
    except (asyncssh.Error, OSError) as error:
        raise NodeUnreachable(f"The SSH connection to {connection} broke.") from error


class PortStream:
    """A TCP connection to a port of a node."""

    def __init__(
        self,
        reader: asyncssh.SSHReader[bytes],
        writer: asyncssh.SSHWriter[bytes],
        release: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._release = release
        self._closed = False

    async def read(self) -> tuple[int, bytes]:
        """What comes next; waits for it. Empty: the other side sends no more."""
        try:
            return STDOUT, await self._reader.read(PART)
        except (OSError, asyncssh.Error):
            return STDOUT, b""

    async def write(self, data: bytes) -> None:
        """Send; returns once there is room for more. What nobody reads is dropped."""
        with suppress(OSError, asyncssh.Error):
            self._writer.write(data)
            await self._writer.drain()

    async def write_eof(self) -> None:
        """Send no more."""
        with suppress(OSError, asyncssh.Error):
            self._writer.write_eof()

    def resize(self, columns: int, rows: int) -> None:
        """Nothing: there is no terminal."""

    async def end(self) -> tuple[int | None, str | None]:
        """Nothing is known of a connection's end."""
        return None, None

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            _hang_up(self._writer.channel)
            self._release()


async def dial_port(connection: NodeConnection, hosts: Sequence[str], port: int) -> PortStream:
    """Connect to the first of ``hosts`` that answers at ``port``, as seen from the node.

    Raises
    ------
    NodeUnreachable
        There is no connection to the node.
    ForwardRefused
        The node's sshd does not forward ports.
    ConnectionRefusedError
        Nothing answers, or not in time.
    """
    deadline = time.monotonic() + TIMEOUT
    link = await connection.ready(TIMEOUT)
    for number, host in enumerate(hosts):
        # What drops packets shall leave time for the next.
        share = (deadline - time.monotonic()) / (len(hosts) - number)
        opening = link.open_connection(host, port, encoding=None, window=WINDOW)
        try:
            reader, writer = await opened(opening, share, lambda pair: pair[1].channel.abort())
        except asyncio.TimeoutError:
            continue
        except asyncssh.ChannelOpenError as error:
            if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
                raise forward_refused(connection) from error
            if link.is_closed():
                raise NodeUnreachable(f"The SSH connection to {connection} broke.") from error
        else:
            connection.keep()
            return PortStream(reader, writer, connection.unkeep)
    raise ConnectionRefusedError(port)
