"""Commands on a node, told apart from a node that runs none."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncssh

from skyport_gates.timing import in_time

from .channels import opened
from .errors import CommandFailed, NodeUnreachable, ShellRefused

if TYPE_CHECKING:
    from .connection import NodeConnection

SESSIONS = 6
"""Commands run at once on one connection; sshd allows 10 sessions by default (MaxSessions), of
which one is for SFTP and one for the watching channel."""

WINDOW = 16 * 2**20
"""Bytes of a command's output in flight."""

MAX_OUTPUT = 64 * 2**20
"""Bytes that a command's output may have: a node's shell may print without end."""

SHELL_MARK = "skyport-shell"


@dataclass(frozen=True)
class Completed:
    """A finished command; a command that died of a signal has that signal's negative number."""

    exit_status: int
    stdout: bytes
    stderr: bytes


class Commands:
    """Runs the commands of one connection, as many at once as sshd has sessions for."""

    def __init__(self, connection: NodeConnection) -> None:
        self._connection = connection
        self._sessions = asyncio.Semaphore(SESSIONS)
        self._shell_works = False

    async def run(self, text: str, data: bytes, deadline: float) -> Completed:
        """Run ``text`` in the login's shell until ``deadline`` (monotonic seconds).

        Raises
        ------
        NodeUnreachable, ShellRefused, CommandFailed
            As :meth:`NodeConnection.run <skyport_core.ssh.connection.NodeConnection.run>` tells.
        """
        try:
            return await in_time(
                self._in_turn(text, data, deadline), max(deadline - time.monotonic(), 0.01)
            )
        except asyncio.TimeoutError as error:
            raise self._connection.last_error or CommandFailed(
                f"A command on {self._connection} did not end in time.",
                reason="command_timeout",
                hint="The node may be overloaded or its home folder may hang.",
            ) from error

    async def _in_turn(self, text: str, data: bytes, deadline: float) -> Completed:
        async with self._sessions:
            completed = await self._execute(text, data, deadline)
            if completed.exit_status == 0:
                self._shell_works = True
            elif not self._shell_works:
                await self._prove_shell(deadline)
        return completed

    async def _execute(self, text: str, data: bytes, deadline: float) -> Completed:
        pause = 0.05
        while True:
            left = deadline - time.monotonic()
            connection = await self._connection.ready(max(left, 0.0))
            try:
                return await self._converse(connection, text, data)
            except asyncssh.ChannelOpenError as error:
                if connection.is_closed():
                    raise NodeUnreachable(
                        f"The SSH connection to {self._connection} broke."
                    ) from error
                if left <= pause:
                    raise CommandFailed(
                        f"{self._connection} opens no more sessions: {error}.",
                        hint="Raise MaxSessions in the node's sshd_config.",
                    ) from error
                await asyncio.sleep(pause)
                pause = min(pause * 2, 1.0)
                continue
            except (asyncssh.Error, OSError) as error:
                raise NodeUnreachable(
                    f"The SSH connection to {self._connection} broke during a command: {error}."
                ) from error

    async def _converse(
        self, connection: asyncssh.SSHClientConnection, text: str, data: bytes
    ) -> Completed:
        opening = connection.create_process(text, encoding=None, window=WINDOW)
        process: asyncssh.SSHClientProcess[bytes] = await opened(opening, None, end)
        try:
            stdout, stderr = await self._talk(process, data)
        except BaseException:
            end(process)
            raise
        process.close()
        if process.returncode is None:
            raise NodeUnreachable(
                f"The SSH connection to {self._connection} broke during a command."
            )
        return Completed(process.returncode, stdout, stderr)

    async def _talk(
        self, process: asyncssh.SSHClientProcess[bytes], data: bytes
    ) -> tuple[bytes, bytes]:
        """Give a command its input and take what it prints, until it has ended."""
        with contextlib.suppress(OSError):  # it did not read all
            process.stdin.write(data)
            process.stdin.write_eof()
        stdout, stderr = await asyncio.gather(self._all(process.stdout), self._all(process.stderr))
        await process.wait_closed()
        return stdout, stderr

    async def _all(self, stream: asyncssh.SSHReader[bytes]) -> bytes:
        """All that comes from a stream; more than any command of ours prints is an error."""
        taken = bytearray()
        while chunk := await stream.read(WINDOW):
            taken += chunk
            if len(taken) > MAX_OUTPUT:
                raise CommandFailed(
                    f"A command on {self._connection} printed more than "
                    f"{MAX_OUTPUT // 2**20} MiB and was ended.",
                    hint="Look at what the login's start files (such as ~/.bashrc) print.",
                )
        return bytes(taken)

    async def _prove_shell(self, deadline: float) -> None:
        """Find out whether a failure was the command's, or the login's shell runs none at all."""
        probe = await self._execute(f"echo {SHELL_MARK}", b"", deadline)
        if SHELL_MARK.encode() in probe.stdout:
            self._shell_works = True
            return
        said = (probe.stdout + probe.stderr).decode(errors="replace").strip()
        raise ShellRefused(
            f"The login {self._connection} runs no commands; it says: {said or 'nothing'}",
            hint="The account needs a usable login shell on the node.",
        )


def end(process: asyncssh.SSHClientProcess[bytes]) -> None:
    """End a program whose result nobody wants any more."""
    # sshd leaves a command without terminal alone when its channel is closed, and passes signals
    # on for ordinary users only.
    with contextlib.suppress(OSError, asyncssh.Error):
        process.terminate()
    process.close()
