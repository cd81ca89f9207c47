"""What one login to the local SSH server may do: run commands, move files, forward ports."""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import logging
import os
import pwd
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import asyncssh

from .local_sftp import FileSession
from .local_terminal import PseudoTerminal

if TYPE_CHECKING:
    pass

log = logging.getLogger("skyport.local")

WINDOW = 16 * 2**20
"""Receive window of a channel, in bytes."""

MAX_PACKET = 64 * 2**10
"""Largest packet to receive on a forwarded connection, in bytes."""

HANGUP_GRACE = 5.0
"""Seconds between SIGHUP and SIGKILL for a command whose channel was closed."""

LAST_WORDS = 0.2
"""Seconds to show what a command left in its terminal that others still use."""

END_OF_INPUT = b"\x04"
"""What a terminal takes for the end of the input."""

_SFTP_VERSION = 3
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_LOOPBACK = ipaddress.ip_network("127.0.0.0/8")


def home_slug(username: str) -> str:
    """The folder name for a login: the name itself if it is a plain one, else a name with a hash.

    Distinct logins never share a folder, also on file systems that ignore case: plain names are
    lower case without ``--``, and every other name carries ``--`` and a hash of the login.
    """
    if _PLAIN_NAME.fullmatch(username) and "--" not in username:
        return username
    readable = re.sub(r"[^a-z0-9]+", "-", username.lower()).strip("-")[:40] or "user"
    return f"{readable}--{hashlib.sha256(username.encode()).hexdigest()[:12]}"


class Homes:
    """The home folders of the logins, one below ``root`` for each."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def open(self, username: str) -> Path:
        """The login's home, made (0700) if it does not exist yet."""
        home = self.root / home_slug(username)
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        return home


def login_environment(username: str, home: Path, sent: dict[str, str]) -> dict[str, str]:
    """The environment of a command: the server's own (already clean) one plus the login's.

    Of the variables that the client sent only the locale is taken, as OpenSSH does by default.
    """
    environment = dict(os.environ)
    environment.update(
        {name: value for name, value in sent.items() if name == "LANG" or name.startswith("LC_")}
    )
    interpreter_folder = str(Path(sys.executable).parent)
    path = environment.get("PATH") or "/usr/local/bin:/usr/bin:/bin"
    environment.update(
        HOME=str(home),
        USER=username,
        LOGNAME=username,
        SHELL=_login_shell(),
        PATH=f"{interpreter_folder}:{path}",
    )
    environment.setdefault("LANG", "C.UTF-8")
    return environment


def _login_shell() -> str:
    try:
        shell = pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:  # a container's user without a passwd entry
        return "/bin/sh"
    return shell if os.access(shell, os.X_OK) else "/bin/sh"


class CertificateLogins(asyncssh.SSHAuthorizedKeys):
    """Accept user certificates of one authority, and only those that name their principals.

    A certificate without principals would open every login; OpenSSH refuses it too.
    """

    def __init__(self, user_ca: str) -> None:
        super().__init__(f"cert-authority {user_ca}")

    def validate(
        self,
        key: asyncssh.SSHKey,
        client_host: str,
        client_addr: str,
        cert_principals: Any = None,
        ca: bool = False,
    ) -> Any:
        """The options of the matching entry, or None to refuse."""
        if not ca or not cert_principals:
            return None
        return super().validate(key, client_host, client_addr, cert_principals, ca)


class CommandSession(asyncssh.SSHServerProcess[bytes]):
    """One session channel: a command under ``/bin/sh -c``, or SFTP.

    The command leads a session and process group of its own. When the channel is closed before
    the command ended, its process group gets SIGHUP and then SIGKILL; what has moved to another
    group or session (a detached job) lives on.
    """

    def __init__(self, homes: Homes, username: str, open_sessions: set[CommandSession]) -> None:
        super().__init__(
            self._serve,
            sftp_factory=lambda channel: FileSession(channel, homes),
            sftp_version=_SFTP_VERSION,
            allow_scp=False,
        )
        self._homes = homes
        self._username = username
        self._open_sessions = open_sessions
        open_sessions.add(self)
        self._child: asyncio.subprocess.Process | None = None
        self._terminal: PseudoTerminal | None = None
        self._closed = False
        self._ended = asyncio.Event()

    async def ended(self) -> None:
        """Wait until the command has ended."""
        if self._child is not None:
            await self._ended.wait()

    def subsystem_requested(self, subsystem: str) -> bool:
        """Only SFTP is served."""
        return subsystem == "sftp"

    def break_received(self, msec: int) -> bool:
        """Refused: a break means nothing to a command here."""
        return False

    def terminal_size_changed(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Tell the command's terminal."""
        if self._terminal is not None:
            self._terminal.resize(width, height)

    def signal_received(self, signal: str) -> None:
        """Pass a signal of the client on to the command's process group."""
        self._signal(f"SIG{signal}")

    def connection_lost(self, exc: Exception | None) -> None:
        """End the command when its channel is gone."""
        super().connection_lost(exc)
        self._closed = True
        self._open_sessions.discard(self)
        self.hang_up()

    def hang_up(self) -> None:
        """Ask the command's process group to end, and kill it if it does not."""
        if self._signal("SIGHUP"):
            asyncio.get_running_loop().call_later(HANGUP_GRACE, self._signal, "SIGKILL")

    def kill(self) -> None:
        """Kill the command's process group."""
        self._signal("SIGKILL")

    def _signal(self, name: str) -> bool:
        child = self._child
        number = getattr(signal, name, None)
        if child is None or child.returncode is not None or number is None:
            return False
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            return False
        return True

    async def _serve(self, _process: asyncssh.SSHServerProcess[Any]) -> None:
        command = ["/bin/sh"] if self.command is None else ["/bin/sh", "-c", self.command]
        if self.term_type is None:
            status = await self._run_piped(command)
        else:
            status = await self._run_in_terminal(command, self.term_type)
        if self._closed:
            return
        if status < 0:
            self.exit_with_signal(signal.Signals(-status).name[3:])
        else:
            self.exit(status)

    async def _run_in_terminal(self, command: list[str], kind: str) -> int:
        home = self._homes.open(self._username)
        columns, rows = self.term_size[:2]
        self._terminal = terminal = PseudoTerminal(columns, rows)
        environment = login_environment(self._username, home, dict(self.env))
        try:
            self._child = child = await asyncio.create_subprocess_exec(
                *terminal.attached(*command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                cwd=home,
                env={**environment, "TERM": kind},
                start_new_session=True,
            )
            return await self._show(terminal, child)
        finally:
            self._ended.set()
            terminal.close()

    async def _show(self, terminal: PseudoTerminal, child: asyncio.subprocess.Process) -> int:
        """Pass on what is typed and shown, until the command has ended."""
        if self._closed:
            self.hang_up()
        typing = asyncio.ensure_future(_copy_keys(self.stdin, terminal))
        showing = asyncio.ensure_future(_copy_screen(terminal, self.stdout))
        try:
            status = await child.wait()
            # Others may have the terminal open still; what is in it by now is the command's.
            terminal.started()
            await asyncio.wait({showing}, timeout=LAST_WORDS)
            return status
        finally:
            for part in (typing, showing):
                part.cancel()
            await asyncio.gather(typing, showing, return_exceptions=True)

    async def _run_piped(self, command: list[str]) -> int:
        home = self._homes.open(self._username)
        self._child = child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env=login_environment(self._username, home, dict(self.env)),
            start_new_session=True,
        )
        if self._closed:  # while the command was being started
            self.hang_up()
        feed = asyncio.ensure_future(_copy_in(self.stdin, child.stdin))
        try:
            await asyncio.gather(
                _copy_out(child.stdout, self.stdout), _copy_out(child.stderr, self.stderr)
            )
            return await child.wait()
        finally:
            feed.cancel()
            self._ended.set()


async def _copy_in(source: asyncssh.SSHReader[bytes], pipe: asyncio.StreamWriter | None) -> None:
    if pipe is None:
        return
    try:
        while data := await source.read(65536):
            pipe.write(data)
            await pipe.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # the command closed its input: as with a pipe, the rest is dropped
    finally:
        pipe.close()


async def _copy_keys(source: asyncssh.SSHReader[bytes], terminal: PseudoTerminal) -> None:
    while data := await source.read(65536):
        await terminal.write(data)
    await terminal.write(END_OF_INPUT)


async def _copy_screen(terminal: PseudoTerminal, target: asyncssh.SSHWriter[bytes]) -> None:
    try:
        while data := await terminal.read():
            target.write(data)
            await target.drain()
    except (OSError, asyncssh.Error):
        log.debug("Output of a terminal was dropped: its channel is closed")


async def _copy_out(pipe: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
    if pipe is None:
        return
    try:
        while data := await pipe.read(65536):
            target.write(data)
            await target.drain()
    except (OSError, asyncssh.Error):
        log.debug("Output of a command was dropped: its channel is closed")


class LoginServer(asyncssh.SSHServer):
    """One connection: who it is, what it may forward, and which commands it runs."""

    def __init__(self, homes: Homes, on_lost: Callable[[LoginServer], None]) -> None:
        self._homes = homes
        self._on_lost = on_lost
        self.sessions: set[CommandSession] = set()
        self.connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """Remember the connection."""
        self.connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end of the connection."""
        self._on_lost(self)

    def session_requested(
        self,
    ) -> tuple[asyncssh.SSHServerChannel[bytes], CommandSession]:
        """Open a session channel."""
        conn = self._authenticated()
        session = CommandSession(self._homes, conn.get_extra_info("username"), self.sessions)
        return conn.create_server_channel(encoding=None, window=WINDOW), session

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> Any:
        """Connect to a loopback address; any other destination is refused."""
        host = "127.0.0.1" if dest_host == "localhost" else dest_host
        if not _is_loopback(host):
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED,
                f"only loopback addresses (127.0.0.0/8) can be reached, not {dest_host}",
            )
        conn = self._authenticated()
        channel = conn.create_tcp_channel(window=WINDOW, max_pktsize=MAX_PACKET)
        return channel, conn.forward_connection(host, dest_port)

    def server_requested(self, listen_host: str, listen_port: int) -> Any:
        """Listen on 127.0.0.1 for the client; any other address is refused."""
        if listen_host not in ("127.0.0.1", "localhost"):
            return False
        return self._authenticated().forward_local_port(
            "127.0.0.1", listen_port, listen_host, listen_port
        )

    def _authenticated(self) -> asyncssh.SSHServerConnection:
        if self.connection is None:
            raise asyncssh.ConnectionLost("the connection is gone")
        return self.connection


def _is_loopback(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return isinstance(address, ipaddress.IPv4Address) and address in _LOOPBACK
