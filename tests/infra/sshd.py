"""A real OpenSSH server on a loopback port, as the node of a test.

It logs in the user who runs the tests, trusts one user CA, and can be given a home of its own.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import psutil

from skyport_gates.gate import Node, SSHEndpoint
from tests.infra.ports import free_ports

HOST = "127.0.0.1"


class SSHD:
    """One server; ``home`` stands for the login's home."""

    def __init__(self, folder: Path, user_ca: str, lines: tuple[str, ...], home: Path | None):
        self.folder = folder
        self.home = home if home is not None else folder / "home"
        (self.port,) = free_ports(1)
        self.username = getpass.getuser()
        folder.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "user_ca.pub").write_text(f"{user_ca}\n")
        self._make_host_key()
        self._write_config(lines)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def host_key(self) -> str:
        """The server's public key as one OpenSSH line."""
        return (self.folder / "host_key.pub").read_text().strip()

    @property
    def pid(self) -> int:
        """Process id of the listening server."""
        assert self._process is not None
        return self._process.pid

    def endpoint(self, **changes: object) -> SSHEndpoint:
        """How to reach it, host key included."""
        known = {"host": HOST, "port": self.port, "host_keys": (self.host_key,)}
        return SSHEndpoint(**{**known, **changes})  # type: ignore[arg-type]

    def node(self, name: str = "node1", **changes: object) -> Node:
        """It as a node of a gate; ``changes`` go into the endpoint."""
        return Node(name=name, endpoint=self.endpoint(**changes))

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [_sshd(), "-D", "-e", "-f", str(self.folder / "sshd_config")],
                stdin=subprocess.DEVNULL,
                stderr=log,
            )
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "sshd.log").read_text()
            assert time.monotonic() < deadline, "sshd did not answer within 10 s"
            time.sleep(0.01)

    def sessions(self) -> list[psutil.Process]:
        """The sshd processes of logged-in connections, one for each."""
        # Brackets stand around the stages of a login and the privileged half of a session.
        return [process for process in self._children() if "[" not in _title(process)]

    def kill(self) -> None:
        """``kill -9`` of the server and of every connection it carries; jobs are left alone."""
        if self._process is None:
            return
        victims = self._children()
        self._process.kill()
        self._process.wait()
        self._process = None
        _kill(victims)

    def cut(self) -> None:
        """``kill -9`` of the connections only; new ones are accepted."""
        _kill(self._children())

    def _children(self) -> list[psutil.Process]:
        """All sshd processes below the server; what logins run is not among them."""
        children = psutil.Process(self.pid).children(recursive=True)
        return [process for process in children if _title(process).startswith("sshd")]

    def _answers(self) -> bool:
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as link:
                return link.recv(4) == b"SSH-"
        except OSError:
            return False

    def _make_host_key(self) -> None:
        key = self.folder / "host_key"
        if not key.exists():
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "node", "-f", str(key)]
            subprocess.run(command, check=True)

    def _write_config(self, lines: tuple[str, ...]) -> None:
        # The first value of a keyword counts, so the caller's lines come first.
        config = [
            *lines,
            f"ListenAddress {HOST}:{self.port}",
            f"HostKey {self.folder}/host_key",
            f"PidFile {self.folder}/sshd.pid",
            f"TrustedUserCAKeys {self.folder}/user_ca.pub",
            "AuthorizedKeysFile none",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin prohibit-password",
            "UsePAM no",
            "StrictModes no",
            "MaxStartups 200:30:400",
            "PrintMotd no",
            "PrintLastLog no",
            f"SetEnv HOME={self.home}",
            f"Subsystem sftp internal-sftp -d {self.home}",
            "",
        ]
        (self.folder / "sshd_config").write_text("\n".join(config))


def start_sshd(
    folder: Path, user_ca: str, *, lines: tuple[str, ...] = (), home: Path | None = None
) -> SSHD:
    """Start a server whose files live in ``folder``.

    Parameters
    ----------
    folder : Path
        For keys, configuration and log; made if missing.
    user_ca : str
        Public key of the authority whose user certificates it accepts.
    lines : tuple of str
        Put before the other lines of sshd_config, so they win.
    home : Path or None
        Home of the login; None: ``folder/home``.

    The caller ends it with :meth:`SSHD.kill`.
    """
    server = SSHD(folder, user_ca, lines, home)
    server.start()
    return server


def _sshd() -> str:
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    assert program is not None, "sshd is not installed"
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return program


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _kill(victims: list[psutil.Process]) -> None:
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(victims, timeout=10)
