"""Connections to nodes: who is trusted, what fails how, and coming back."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import socket
import subprocess
from pathlib import Path

import asyncssh
import pytest

from skyport_core.ssh import commands
from skyport_core.ssh.connection import ConnectionState, NodeConnection
from skyport_core.ssh.errors import (
    CommandFailed,
    HostKeyMismatch,
    LoginRefused,
    NodeUnreachable,
    ShellRefused,
)
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_gates.timing import in_time
from tests.infra.sshd import SSHD

from .conftest import StartNode
from .waiting import until


def other_key() -> str:
    return asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


async def test_a_node_that_trusts_the_authority_lets_the_core_in(
    connection: NodeConnection,
) -> None:
    done = await connection.run(["printf", "%s", "it's $HOME\n"], timeout=10)
    assert (done.exit_status, done.stdout) == (0, b"it's $HOME\n")


async def test_input_output_and_status_of_a_command_come_back(connection: NodeConnection) -> None:
    done = await connection.run("cat; echo oops >&2; exit 5", input=b"\0bytes\xff", timeout=10)
    assert (done.exit_status, done.stdout, done.stderr) == (5, b"\0bytes\xff", b"oops\n")


async def test_the_cipher_is_aes_gcm(connection: NodeConnection) -> None:
    link = await connection.ready(10)
    assert link.get_extra_info("send_cipher") == "aes128-gcm@openssh.com"


async def test_one_connection_serves_many_commands_at_once(
    connection: NodeConnection, node: SSHD
) -> None:
    runs = [connection.run(["echo", str(number)], timeout=20) for number in range(20)]
    done = await asyncio.gather(*runs)
    assert [int(result.stdout) for result in done] == list(range(20))
    await until(lambda: len(node.sessions()) == 1, "sshd shows one session")


async def test_the_same_node_and_login_share_one_connection(
    pool: ConnectionPool, node: SSHD
) -> None:
    first = pool.get("lab", node.node(), node.username)
    assert pool.get("lab", node.node(), node.username) is first
    assert pool.get("lab", node.node(name="node2"), node.username) is not first


async def test_an_unknown_host_key_is_refused(pool: ConnectionPool, node: SSHD) -> None:
    connection = pool.get("lab", node.node(host_keys=(other_key(),)), node.username)
    with pytest.raises(HostKeyMismatch) as caught:
        await connection.ready(30)
    assert caught.value.permanent
    assert str(node.port) in caught.value.message


async def test_a_node_without_recorded_host_keys_is_refused(
    pool: ConnectionPool, node: SSHD
) -> None:
    connection = pool.get("lab", node.node(host_keys=()), node.username)
    with pytest.raises(HostKeyMismatch):
        await connection.ready(30)


async def test_a_host_certificate_of_a_known_authority_is_accepted(
    pool: ConnectionPool, start_node: StartNode, tmp_path: Path
) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    certificate = tmp_path / "host_key-cert.pub"
    node = start_node(f"HostCertificate {certificate}")
    public = asyncssh.import_public_key(node.host_key)
    authority.generate_host_certificate(public, "node", principals=["127.0.0.1"]).write_certificate(
        certificate
    )
    node.kill()
    node.start()
    trusted = authority.export_public_key().decode().strip()
    connection = pool.get("lab", node.node(host_keys=(), host_cas=(trusted,)), node.username)
    assert (await connection.run(["true"], timeout=10)).exit_status == 0


async def test_a_node_that_trusts_another_authority_refuses_the_login(
    node: SSHD, tmp_path: Path
) -> None:
    pool = ConnectionPool(SSHIdentity.load(tmp_path / "stranger"))
    with pytest.raises(LoginRefused) as caught:
        await pool.get("lab", node.node(), node.username).ready(30)
    assert caught.value.permanent
    await pool.close()


async def test_a_login_that_does_not_exist_is_refused(pool: ConnectionPool, node: SSHD) -> None:
    with pytest.raises(LoginRefused, match="nobody-here"):
        await pool.get("lab", node.node(), "nobody-here").ready(30)


async def test_a_closed_port_is_unreachable_after_the_timeout(
    pool: ConnectionPool, node: SSHD
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        connection = pool.get("lab", node.node(port=unused.getsockname()[1]), node.username)
        with pytest.raises(NodeUnreachable, match="Connection refused") as caught:
            await connection.ready(0.5)
    assert not caught.value.permanent


async def test_a_silent_node_is_unreachable(identity: SSHIdentity, node: SSHD) -> None:
    pool = ConnectionPool(identity, connect_timeout=0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connection = pool.get("lab", node.node(port=silent.getsockname()[1]), node.username)
        with pytest.raises(NodeUnreachable, match=r"within 0\.5 s"):
            await connection.ready(0.9)
        await pool.close()


@pytest.mark.parametrize("command", ["true", "exit 1"])
async def test_a_login_without_a_shell_is_told_by_its_own_words(
    pool: ConnectionPool, start_node: StartNode, command: str
) -> None:
    node = start_node("ForceCommand /usr/sbin/nologin")
    connection = pool.get("lab", node.node(), node.username)
    with pytest.raises(ShellRefused, match="This account is currently not available") as caught:
        await connection.run(command, timeout=10)
    assert caught.value.permanent


async def test_a_command_that_prints_without_end_is_ended(
    connection: NodeConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "MAX_OUTPUT", 100_000)
    with pytest.raises(CommandFailed, match="printed more than"):
        await connection.run(["yes"], timeout=20)
    assert (await connection.run(["echo", "on"], timeout=10)).stdout == b"on\n"


async def test_a_command_that_takes_too_long_fails(
    connection: NodeConnection, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "end")
    with pytest.raises(CommandFailed) as caught:
        await connection.run(f"read line <{tmp_path}/end", timeout=0.5)
    assert caught.value.reason == "command_timeout"
    (tmp_path / "end").write_text("\n")


async def test_the_time_limit_holds_while_all_sessions_are_taken(
    connection: NodeConnection, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    os.mkfifo(tmp_path / "end")
    held = [
        asyncio.ensure_future(
            connection.run(f"echo >>{started}; read line <{tmp_path}/end", timeout=30)
        )
        for _ in range(commands.SESSIONS)
    ]
    await until(
        lambda: started.exists() and started.stat().st_size == commands.SESSIONS, "all have started"
    )
    with pytest.raises(CommandFailed) as caught:
        await in_time(connection.run("true", timeout=0.3), 5)
    assert caught.value.reason == "command_timeout"
    (tmp_path / "end").write_text("\n")
    await asyncio.gather(*held)
    assert (await connection.run("true", timeout=10)).exit_status == 0


async def test_a_session_that_a_silent_node_opens_too_late_is_closed(
    connection: NodeConnection, node: SSHD
) -> None:
    link = await connection.ready(10)
    await until(lambda: len(node.sessions()) == 1, "sshd shows the session")
    (session,) = node.sessions()
    session.suspend()
    try:
        with pytest.raises(CommandFailed) as caught:
            await in_time(connection.run("true", timeout=0.3), 5)
    finally:
        session.resume()
    assert caught.value.reason == "command_timeout"
    await until(lambda: not link._channels, "the channel is closed")
    assert (await connection.run("true", timeout=10)).exit_status == 0


async def test_the_exec_prefix_comes_before_a_command(pool: ConnectionPool, node: SSHD) -> None:
    inside = dataclasses.replace(node.node(), exec_prefix=("env", "PLACE=in side"))
    connection = pool.get("lab", inside, node.username)
    done = await connection.run(["sh", "-c", 'echo "$PLACE"'], timeout=10, prefixed=True)
    assert done.stdout == b"in side\n"


async def test_a_node_behind_a_jump_host_is_reached(
    pool: ConnectionPool, start_node: StartNode
) -> None:
    jump, node = start_node(), start_node()
    connection = pool.get("lab", node.node(jump=jump.endpoint()), node.username)
    assert (await connection.run(["true"], timeout=10)).exit_status == 0
    await until(lambda: len(jump.sessions()) == 1, "the jump host shows the session")


async def test_a_jump_host_with_a_wrong_key_is_refused(
    pool: ConnectionPool, start_node: StartNode
) -> None:
    jump, node = start_node(), start_node()
    false = jump.endpoint(host_keys=(other_key(),))
    with pytest.raises(HostKeyMismatch, match=str(jump.port)):
        await pool.get("lab", node.node(jump=false), node.username).ready(30)
    assert node.sessions() == []


async def test_a_kept_connection_comes_back_after_sshd_was_killed(
    connection: NodeConnection, node: SSHD
) -> None:
    events: list[str] = []
    connection.on_connect(lambda: events.append("connect"))
    connection.on_lost(lambda: events.append("lost"))
    connection.keep()
    await connection.ready(10)
    node.kill()
    await until(lambda: "lost" in events, "the loss is noticed")
    node.start()
    assert (await connection.run(["true"], timeout=20)).exit_status == 0
    assert events == ["connect", "lost", "connect"]
    connection.unkeep()


async def test_a_node_that_falls_silent_is_given_up_by_keepalive(
    connection: NodeConnection, node: SSHD
) -> None:
    connection.keep()
    await connection.ready(10)
    await until(lambda: len(node.sessions()) == 1, "sshd shows the session")
    (session,) = node.sessions()
    session.suspend()
    await until(lambda: connection.state is not ConnectionState.CONNECTED, "the silence is noticed")
    session.resume()
    connection.unkeep()


async def test_a_command_under_way_fails_when_the_connection_is_lost(
    connection: NodeConnection, node: SSHD, tmp_path: Path
) -> None:
    started = tmp_path / "started"
    os.mkfifo(tmp_path / "end")
    command = f"touch {started}; read line <{tmp_path}/end"
    running = asyncio.ensure_future(connection.run(command, timeout=60))
    await until(started.exists, "the command started")
    node.cut()
    with pytest.raises(NodeUnreachable):
        await running
    (tmp_path / "end").write_text("\n")


async def test_a_changed_endpoint_is_used_at_once(
    pool: ConnectionPool, start_node: StartNode
) -> None:
    old, new = start_node(), start_node()
    connection = pool.get("lab", old.node(), old.username)
    await connection.ready(10)
    assert pool.get("lab", new.node(), new.username) is connection
    await until(lambda: not old.sessions(), "the old connection is closed")
    assert (await connection.run(["true"], timeout=10)).exit_status == 0
    await until(lambda: len(new.sessions()) == 1, "the new node shows the session")


async def test_an_idle_connection_is_closed_and_opened_again_on_use(
    identity: SSHIdentity, node: SSHD
) -> None:
    pool = ConnectionPool(identity, idle_timeout=0.2)
    connection = pool.get("lab", node.node(), node.username)
    await connection.ready(10)
    await until(lambda: not node.sessions(), "the idle connection is closed")
    await until(lambda: connection.state is ConnectionState.IDLE, "it is idle")
    assert (await connection.run(["true"], timeout=10)).exit_status == 0
    await pool.close()


async def test_a_closed_pool_leaves_no_session_on_the_node(
    pool: ConnectionPool, connection: NodeConnection, node: SSHD
) -> None:
    connection.keep()
    await connection.ready(10)
    await pool.close()
    await until(lambda: not node.sessions(), "the sessions ended")


async def test_repeated_failures_are_logged_once(
    identity: SSHIdentity, node: SSHD, caplog: pytest.LogCaptureFixture
) -> None:
    node.kill()
    pool = ConnectionPool(identity, reconnect_max=0.05)
    connection = pool.get("lab", node.node(), node.username)
    with caplog.at_level(logging.WARNING), pytest.raises(NodeUnreachable):
        await connection.ready(1.5)
    await pool.close()
    assert len([record for record in caplog.records if record.name.startswith("skyport")]) == 1


async def test_a_node_is_known_by_more_than_its_address(pool: ConnectionPool, node: SSHD) -> None:
    """Another machine that took over an address is not mistaken for the node."""
    connection = pool.get("lab", node.node(), node.username)
    connection.keep()
    await connection.ready(10)
    node.kill()
    await until(lambda: connection.last_error is not None, "the loss is noticed")
    (node.folder / "host_key").unlink()
    (node.folder / "host_key.pub").unlink()
    command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(node.folder / "host_key")]
    subprocess.run(command, check=True)
    node.start()
    with pytest.raises(HostKeyMismatch):
        await connection.ready(20)
    connection.unkeep()
