"""The documentation's examples, run for real."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from skyport_core.model import node_address
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.tunnels import InTunnel, OutTunnel
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from tests.infra.core import CoreProcess
from tests.infra.nodes import CHECKOUT
from tests.infra.pages import page
from tests.infra.ports import free_ports
from tests.infra.requirements import needs_sshd
from tests.infra.sshd import SSHD, start_sshd
from tests.infra.wait import eventually

SERVER_PORT = 8888


# -- REST ------------------------------------------------------------------------------------------


@pytest.fixture
async def core() -> AsyncIterator[CoreProcess]:
    """A core that knows its site."""
    async with CoreProcess() as core:
        async with core.client() as client:
            await eventually(client.nodes, "the node of this machine", 30)
        yield core


async def test_the_curl_examples_run_a_job_and_show_it(core: CoreProcess) -> None:
    script = "".join(page("rest.md").examples("sh", "run"))
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        env={**os.environ, "SOCKET": str(core.socket)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await asyncio.wait_for(shell.communicate(), 60)
    assert shell.returncode == 0, errors.decode()
    text = output.decode()
    assert "hello from a node" in text
    (documented,) = (one for one in page("rest.md").examples("text") if "event: end" in one)
    assert documented[documented.index("event: end") :] in text
    (result,) = core.home.glob("jobs/*/files/result.txt")
    assert result.read_text() == "done\n"


async def test_the_python_example_shows_the_flavors(core: CoreProcess) -> None:
    (text,) = page("rest.md").examples("python", "run")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", text),
        env={**os.environ, "SKYPORT_SOCKET": str(core.socket)},
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    assert output.startswith(b"local local ")


async def test_the_examples_of_the_client_run_jobs(core: CoreProcess, tmp_path: Path) -> None:
    blocking, asynchronous = page("client.md").examples("python", "run")
    outputs = []
    for text in (blocking, asynchronous):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", text),
            cwd=tmp_path,
            env={**os.environ, "SKYPORT_SOCKET": str(core.socket)},
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode == 0
        outputs.append(output.decode())
    assert outputs[0] == "10\nFINISHED 0\n"
    assert (tmp_path / "size.txt").read_text() == "10\n"
    assert outputs[1].startswith("starts\n")
    assert outputs[1].endswith("hello from a script\n\n")


# -- a gate ----------------------------------------------------------------------------------------


async def test_the_gate_example_passes_the_conformance_kit(tmp_path: Path) -> None:
    for block in page("writing-a-gate.md").blocks:
        if block.mark.startswith("file: "):
            (tmp_path / block.mark.removeprefix("file: ")).write_text(block.text)
    authority = asyncssh.generate_private_key("ssh-ed25519")
    authority.write_private_key(tmp_path / "ca")
    home = tmp_path / "node"
    user_ca = authority.export_public_key().decode().strip()
    server = LocalProcess(Settings(home, home / "homes", user_ca))
    attachment = await server.attach()
    hello = attachment.hello
    node = {"name": "node1", "host": "127.0.0.1", "port": hello.port, "host_key": hello.host_key}
    (tmp_path / "nodes.json").write_text(json.dumps([{**node, "cpus": 2, "memory": 4096}]))
    try:
        kit = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_filegate.py"),
            cwd=tmp_path,
            env={
                **os.environ,
                "NODES": str(tmp_path / "nodes.json"),
                "USER_CA": str(tmp_path / "ca"),
                "PYTHONPATH": os.pathsep.join([str(tmp_path), str(CHECKOUT)]),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await asyncio.wait_for(kit.communicate(), 120)
    finally:
        await attachment.close()
        await server.stop()
    assert kit.returncode == 0, output.decode()
    assert b" skipped" not in output


# -- sshd ------------------------------------------------------------------------------------------


@pytest.fixture
def node(tmp_path: Path) -> Iterator[SSHD]:
    """A node with the documented lines; the login of this test may be root's."""
    (text,) = page("howto-onprem.md").examples("sshd_config")
    other = ("TrustedUserCAKeys", "PermitRootLogin")
    lines = [line for line in text.splitlines() if not line.startswith(other)]
    node = start_sshd(
        tmp_path / "node", SSHIdentity.load(tmp_path / "core").user_ca, lines=tuple(lines)
    )
    yield node
    node.kill()


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.read(100))
    await writer.drain()
    writer.close()


async def _answer(host: str, port: int) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    with closing(writer):
        writer.write(b"hello")
        return await asyncio.wait_for(reader.read(100), 10)


@needs_sshd
async def test_the_documented_sshd_lines_allow_what_the_core_needs(
    node: SSHD, tmp_path: Path
) -> None:
    pool = ConnectionPool(SSHIdentity.load(tmp_path / "core"))
    connection = pool.get("lab", node.node(), node.username)
    address = node_address(os.getpid() % 2**20 + 1)
    server = await asyncio.start_server(_echo, address, SERVER_PORT)
    inside = InTunnel(connection, ("127.0.0.1", 0), (address, SERVER_PORT))
    outside = OutTunnel(connection, (address, SERVER_PORT))
    try:
        assert (await connection.run(["echo", "hello"], timeout=10)).stdout == b"hello\n"
        async with connection.sftp() as files:
            assert await files.exists(".")
        await inside.open()
        assert await _answer(*inside.listen) == b"hello"
        port = await outside.open()
        assert await _answer("127.0.0.1", port) == b"hello"
    finally:
        await inside.close()
        await outside.close()
        await pool.close()
        server.close()
        await server.wait_closed()


@needs_sshd
async def test_the_documented_sshd_lines_forbid_other_ports(node: SSHD, tmp_path: Path) -> None:
    pool = ConnectionPool(SSHIdentity.load(tmp_path / "core"))
    connection = pool.get("lab", node.node(), node.username)
    try:
        link = await connection.ready(10)
        with pytest.raises(asyncssh.ChannelOpenError) as refusal:
            await link.open_connection("127.0.0.1", free_ports(1)[0])
        assert refusal.value.code == OPEN_ADMINISTRATIVELY_PROHIBITED
        with pytest.raises(asyncssh.ChannelListenError):
            await link.start_server(lambda *_: None, "0.0.0.0", 0)
    finally:
        await pool.close()


def test_host_keys_are_collected_and_shown_as_documented(node: SSHD, tmp_path: Path) -> None:
    """The commands of the page, with this node's port."""
    scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(node.port), "127.0.0.1"]
    keys = subprocess.run(scan, check=True, capture_output=True).stdout
    (tmp_path / "known_hosts").write_bytes(keys)
    fingerprints = [
        subprocess.run(["ssh-keygen", "-lf", path], check=True, capture_output=True, text=True)
        for path in (tmp_path / "known_hosts", node.folder / "host_key.pub")
    ]
    seen, own = (shown.stdout.split()[1] for shown in fingerprints)
    assert seen == own
