"""The SSH server of the local gate: ``python -m skyport_gates.local_server --home DIR …``.

It serves this machine's own account on 127.0.0.1 to holders of a certificate of one authority.
It detaches itself from whoever started it, so it outlives the core; a lock in its folder makes
sure that there is only one. The starting command ends with 0 once the server can be reached,
with 3 if another one holds the folder, and with 1 and a message on stderr if it failed.

Files in its folder (all 0600): ``lock``, ``host_key``, ``host_key.pub``, ``port`` (kept for the
next start), ``pid`` (process id and start time), ``control.sock`` and ``server.log``.

A connection to ``control.sock`` gets one line of JSON (:class:`Hello`). It counts as a client, so
the server stays while one is open, and it ends when the server ends. The client may send the
lines ``ping`` (answered by ``pong``) and ``stop`` (answered by ``busy`` if another control
connection is open).
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import fcntl
import hashlib
import json
import logging
import os
import signal
import socket
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import asyncssh

from .local_files import live_jobs, process_start, write_private
from .local_session import WINDOW, CertificateLogins, Homes, LoginServer
from .timing import in_time

log = logging.getLogger("skyport.local")

EXIT_TAKEN = 3
"""Exit status of a start that found the folder held by another server."""

PROTOCOL = 1
"""Raised when a server of an older release has to be replaced."""

LOG_LIMIT = 2**20
ENCRYPTION = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes256-ctr",
)


@dataclass(frozen=True)
class Settings:
    """What a server is started with. ``idle_exit`` is in seconds."""

    home: Path
    homes_dir: Path
    user_ca: str
    idle_exit: float = 60.0

    def arguments(self) -> list[str]:
        """The command line that :func:`parse` turns into these settings again."""
        return [
            f"--{field.name.replace('_', '-')}={getattr(self, field.name)}"
            for field in fields(self)
        ]

    def digest(self) -> str:
        """A short text that differs when the settings (or the server's release) differ."""
        text = "\0".join([str(PROTOCOL), sys.executable, *self.arguments()])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Hello:
    """The server's first line on the control socket."""

    pid: int
    port: int
    host_key: str
    digest: str


def parse(arguments: list[str] | None = None) -> Settings:
    """Settings from a command line."""
    parser = argparse.ArgumentParser(prog="skyport_gates.local_server", description=__doc__)
    parser.add_argument("--home", type=_folder, required=True)
    parser.add_argument("--homes-dir", type=_folder, required=True)
    parser.add_argument("--user-ca", required=True)
    parser.add_argument("--idle-exit", type=float, default=60.0)
    return Settings(**vars(parser.parse_args(arguments)))


def _folder(text: str) -> Path:
    return Path(text).absolute()


def host_key(home: Path) -> asyncssh.SSHKey:
    """The server's host key, generated once."""
    path = home / "host_key"
    if not path.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        write_private(home / "host_key.pub", key.export_public_key().decode())
        write_private(path, key.export_private_key().decode())
    return asyncssh.read_private_key(path)


def listen(home: Path) -> socket.socket:
    """Listen on the port of the last start, or on a new one if that is taken now."""
    record = home / "port"
    try:
        wanted = int(record.read_text())
    except (FileNotFoundError, ValueError):
        wanted = 0
    try:
        sock = _bound(wanted)
    except OSError as error:
        if not wanted or error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        sock = _bound(0)
    write_private(record, f"{sock.getsockname()[1]}\n")
    return sock


def _bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(128)
    except OSError:
        sock.close()
        raise
    return sock


def listen_control() -> socket.socket:
    """Listen on the control socket in the working directory, in the place of a dead server's.

    A relative name, since the address of a Unix socket is short.
    """
    path = Path("control.sock")
    path.unlink(missing_ok=True)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(str(path))
    path.chmod(0o600)
    sock.listen(16)
    return sock


class Server:
    """The running server: its clients, its control connections and its end."""

    def __init__(self, settings: Settings, key: asyncssh.SSHKey, port: int) -> None:
        self._settings = settings
        self._key = key
        self._port = port
        self._homes = Homes(settings.homes_dir)
        self._clients: set[LoginServer] = set()
        self._controls: set[asyncio.StreamWriter] = set()
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()

    async def run(self, sock: socket.socket, control: socket.socket) -> None:
        """Serve until told to stop or idle for long enough."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        acceptor = await asyncssh.listen(
            sock=sock,
            server_factory=self._accept,
            server_host_keys=[self._key],
            authorized_client_keys=CertificateLogins(self._settings.user_ca),
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            allow_scp=False,
            encryption_algs=ENCRYPTION,
            compression_algs=None,
            window=WINDOW,
            login_timeout=30,
            keepalive_interval=0,
        )
        control_server = await asyncio.start_unix_server(self._serve_control, sock=control)
        idle = asyncio.ensure_future(self._exit_when_idle())
        await self._stop.wait()
        idle.cancel()
        acceptor.close()
        control_server.close()
        await self._end_sessions()

    def _accept(self) -> LoginServer:
        client = LoginServer(self._homes, self._lost)
        self._clients.add(client)
        self._changed.set()
        return client

    def _lost(self, client: LoginServer) -> None:
        self._clients.discard(client)
        self._changed.set()

    async def _serve_control(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._controls.add(writer)
        self._changed.set()
        hello = Hello(
            pid=os.getpid(),
            port=self._port,
            host_key=self._key.export_public_key().decode().strip(),
            digest=self._settings.digest(),
        )
        try:
            writer.write(json.dumps(asdict(hello)).encode() + b"\n")
            while line := await reader.readline():
                if line == b"ping\n":
                    writer.write(b"pong\n")
                elif line == b"stop\n" and len(self._controls) > 1:
                    writer.write(b"busy\n")
                elif line == b"stop\n":
                    self._stop.set()
                await writer.drain()
        except (ConnectionError, ValueError) as error:
            log.debug("A control connection broke: %s", error)
        finally:
            self._controls.discard(writer)
            self._changed.set()
            writer.close()

    async def _exit_when_idle(self) -> None:
        while True:
            self._changed.clear()
            if self._clients or self._controls:
                await self._changed.wait()
                continue
            try:
                await in_time(self._changed.wait(), self._settings.idle_exit)
            except asyncio.TimeoutError:
                if not live_jobs(self._settings.homes_dir):
                    self._stop.set()
                    return

    async def _end_sessions(self) -> None:
        """Close all connections; commands that SIGHUP does not end within a second are killed."""
        sessions = [session for client in self._clients for session in client.sessions]
        for client in list(self._clients):
            if client.connection is not None:
                client.connection.abort()
        running = [session.ended() for session in sessions]
        if not running:
            return
        try:
            await in_time(asyncio.gather(*running), 1.0)
        except asyncio.TimeoutError:
            for session in sessions:
                session.kill()


def detach(home: Path) -> None:
    """Go on in a child that nobody waits for, with the log as its output; the caller exits."""
    if os.fork():
        os._exit(0)
    os.setsid()
    write_private(home / "pid", f"{os.getpid()} {process_start(os.getpid())}\n")
    path = home / "server.log"
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(home / "server.log.1")
    output = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(null)
    os.close(output)


def main(arguments: list[str] | None = None) -> int:
    """Start the server as the module's docstring says."""
    settings = parse(arguments)
    home = settings.home
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return EXIT_TAKEN
    try:
        settings.homes_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = host_key(home)
        sock = listen(home)
        os.chdir(home)
        control = listen_control()
    except (OSError, asyncssh.KeyImportError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    detach(home)
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    port = sock.getsockname()[1]
    log.warning("Serving 127.0.0.1:%d as process %d", port, os.getpid())
    asyncio.run(Server(settings, key, port).run(sock, control))
    log.warning("Ended")
    return 0


if __name__ == "__main__":
    sys.exit(main())
