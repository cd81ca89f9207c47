"""Machines that are only a login: an SSH server on a loopback address of their own, in this loop.

They believe the host key and the user authority of their customData and nothing else of it. Quick
enough for hundreds; jobs on them are real processes of this machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import asyncssh
import psutil

from skyport_gates.local_session import CertificateLogins, Homes, LoginServer
from tests.infra.arm.backends import BootFailed, Machine

_LANE = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) & 7
_numbers = itertools.count((_LANE << 16) + 1)
"""Lanes of tests (pytest-xdist) have addresses of their own."""


class LoginBackend:
    """Each machine listens on port 22 of an address in 127.40.0.0/13.

    ``silent`` names machines that never let anybody in; ``failing`` such whose boot fails.
    """

    def __init__(self, boot_time: float = 0.0) -> None:
        self.boot_time = boot_time
        self.silent: set[str] = set()
        self.failing: set[str] = set()
        self._servers: dict[str, asyncssh.SSHAcceptor] = {}
        self._clients: dict[str, set[LoginServer]] = {}
        self._stack = contextlib.ExitStack()
        self._root = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="vms-")))

    async def create(self, machine: Machine) -> str:
        """Choose the address and let the SSH server come up."""
        machine.address = machine.address or _address(next(_numbers))
        await self._serve(machine)
        return machine.address

    async def booted(self, machine: Machine) -> None:
        """Ready once it has booted."""
        await asyncio.sleep(self.boot_time)
        if machine.name in self.failing:
            raise BootFailed(f"OS Provisioning for VM '{machine.name}' did not finish in time.")

    async def stop(self, machine: Machine) -> None:
        """End its server and all processes; its homes stay."""
        server = self._servers.pop(machine.vm_id, None)
        if server is not None:
            server.close()
        for client in list(self._clients.pop(machine.vm_id, ())):
            if client.connection is not None:
                client.connection.abort()
        await asyncio.to_thread(_kill_inside, self._folder(machine))

    async def start(self, machine: Machine) -> str:
        """Serve again on the same address."""
        await self._serve(machine)
        return machine.address

    async def delete(self, machine: Machine) -> None:
        """Stop it and remove its homes."""
        await self.stop(machine)
        await asyncio.to_thread(shutil.rmtree, self._folder(machine), ignore_errors=True)

    async def notice(self, machine: Machine, event: dict[str, Any]) -> None:
        """Tell the watchers as the node's own agent does, also such as come a little later."""
        deadline = parsedate_to_datetime(str(event["NotBefore"]))
        line = f"notice preempt {deadline.timestamp():.0f}\n".encode()
        for _ in range(3):
            self._tell(machine, line)
            await asyncio.sleep(0.3)

    def _tell(self, machine: Machine, line: bytes) -> None:
        for fifo in self._folder(machine).glob("homes/*/.skyport/watch/*"):
            descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)

    async def serial_log(self, machine: Machine) -> str:
        """Two lines that name it."""
        return f"Booting {machine.name}\nGave up waiting for the root device.\n"

    async def close(self) -> None:
        """End all servers and remove all homes."""
        for server in self._servers.values():
            server.close()
        self._servers.clear()
        for clients in self._clients.values():
            for client in list(clients):
                if client.connection is not None:
                    client.connection.abort()
        await asyncio.to_thread(_kill_inside, self._root)
        self._stack.close()

    async def _serve(self, machine: Machine) -> None:
        if machine.name in self.silent or machine.vm_id in self._servers:
            return
        host_key, user_ca = _credentials(machine.custom_data)
        homes = Homes(self._folder(machine) / "homes")
        homes.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        clients = self._clients.setdefault(machine.vm_id, set())

        def accept() -> LoginServer:
            client = LoginServer(homes, clients.discard)
            clients.add(client)
            return client

        self._servers[machine.vm_id] = await asyncssh.listen(
            machine.address,
            22,
            server_factory=accept,
            server_host_keys=[host_key],
            authorized_client_keys=CertificateLogins(user_ca),
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            agent_forwarding=False,
            allow_pty=False,
            allow_scp=False,
        )

    def _folder(self, machine: Machine) -> Path:
        return self._root / machine.vm_id


def _address(number: int) -> str:
    return f"127.{40 + (number >> 16 & 7)}.{number >> 8 & 255}.{number & 255}"


def _credentials(custom_data: bytes) -> tuple[asyncssh.SSHKey, str]:
    """Host key and user authority out of a #cloud-config in JSON."""
    config = json.loads(custom_data.decode().partition("\n")[2])
    host_key = asyncssh.import_private_key(config["ssh_keys"]["ed25519_private"])
    for file in config["write_files"]:
        content = str(file.get("content", ""))
        if content.startswith("ssh-"):
            return host_key, content
    raise BootFailed("The customData names no user authority.")


def _kill_inside(folder: Path) -> None:
    prefix = str(folder)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("HOME", "").startswith(prefix):
                process.send_signal(signal.SIGKILL)
