"""The original Sky Port's published clients, unmodified, in an environment of their own."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.infra.certs import ClientFiles
from tests.infra.nodes import Fabric
from tests.infra.venvs import SWM_CLIENTS

CALLS = Path(__file__).with_name("original_calls.py")
HOST = "core.example.test"
"""What the machine of the console is called, which is where it looks for the core."""

# The console knows one place for the authority, and calls the machine that it runs on.
_CONSOLE = """\
set -eu
mount --make-rprivate /
hostname "$1"
printf '127.0.0.1 %s\\n' "$1" localhost > "$HOME/hosts"
mount --bind "$HOME/hosts" /etc/hosts
mount -t tmpfs tmpfs /opt
mkdir -p /opt/swm/spool/secure/cluster
cp "$2" /opt/swm/spool/secure/cluster/ca-chain-cert.pem
shift 2
exec "$@"
"""


def environment() -> Path:
    """The folder of the clients' virtual environment; made on first use."""
    return SWM_CLIENTS.environment()


def user_home(files: ClientFiles) -> Path:
    """A home as the clients want it: key and certificate in ~/.swm."""
    home = files.folder / "home"
    (home / ".swm").mkdir(parents=True, exist_ok=True)
    for name in ("key.pem", "cert.pem"):
        (home / ".swm" / name).write_bytes((files.folder / name).read_bytes())
    return home


@dataclass
class Api:
    """``swmclient.api.SwmApi`` in a process of its own."""

    process: asyncio.subprocess.Process

    async def __call__(self, method: str, *arguments: str) -> Any:
        """Call a method; records come as dicts, files and bytes as text, None as None."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps([method, *arguments]).encode() + b"\n")
        line = await self.process.stdout.readline()
        return json.loads(line)


@asynccontextmanager
async def swm_api(fabric: Fabric, files: ClientFiles, url: str) -> AsyncIterator[Api]:
    """The client of a user, at the hub's side of the network."""
    python = environment() / "bin" / "python"
    arguments = (url, *map(str, (files.key, files.cert, files.ca)))
    process = await asyncio.create_subprocess_exec(
        *(*fabric.prefix, python, CALLS, *arguments),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**26,
    )
    try:
        yield Api(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


async def swmconsole(fabric: Fabric, files: ClientFiles, *arguments: str) -> str:
    """What the console prints; it runs in a view of the machine that has what it wants."""
    command = ("unshare", "--mount", "--uts", "sh", "-c", _CONSOLE, "sh", HOST, str(files.ca))
    process = await asyncio.create_subprocess_exec(
        *(*fabric.prefix, *command, environment() / "bin" / "swmconsole", *arguments),
        env={"HOME": str(user_home(files)), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return out.decode()
