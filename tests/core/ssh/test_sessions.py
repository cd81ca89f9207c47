"""Programs and ports of a real node: terminals, pipes, half-close, and what ends them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import psutil
import pytest

from skyport_core.ssh import runner as runner_module
from skyport_core.ssh import sessions
from skyport_core.ssh.connection import NodeConnection
from skyport_core.ssh.errors import CommandFailed
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.runner import Runner, RunSpec
from skyport_core.ssh.sessions import (
    PER_LANE,
    Program,
    Programs,
    Terminal,
    dial_port,
    enter_job,
)
from skyport_gates.timing import in_time
from tests.infra.sshd import SSHD
from tests.infra.wait import eventually

TERMINAL = Terminal("vt100", 90, 20)


@pytest.fixture
async def programs(pool: ConnectionPool) -> AsyncIterator[Programs]:
    programs = Programs(pool)
    yield programs
    assert not programs._open


async def everything(program: Program) -> dict[int, bytes]:
    """All that a program says, by stream."""
    said = {1: b"", 2: b""}
    while (heard := await asyncio.wait_for(program.read(), 10))[1]:
        said[heard[0]] += heard[1]
    return said


async def until(program: Program, text: bytes) -> bytes:
    said = b""
    while text not in said:
        try:
            _, data = await in_time(program.read(), 10)
        except asyncio.TimeoutError:
            pytest.fail(f"{text!r} is not in {said!r}")
        assert data, said
        said += data
    return said


async def test_streams_and_the_exit_status_of_a_command(
    programs: Programs, connection: NodeConnection
) -> None:
    command = ("sh", "-c", "read line; echo got $line; echo 'a b' >&2; exit 7")
    program = await programs.start(connection, enter_job("j", "", (), command))
    await program.write(b"this\n")
    await program.write_eof()
    assert await everything(program) == {1: b"got this\n", 2: b"a b\n"}
    assert await program.end() == (7, None)
    program.close()


async def test_megabytes_go_through_and_come_back(
    programs: Programs, connection: NodeConnection
) -> None:
    program = await programs.start(connection, enter_job("j", "", (), ("cat",)))
    sent = os.urandom(8 * 2**20)

    async def send() -> None:
        for start in range(0, len(sent), 2**18):
            await program.write(sent[start : start + 2**18])
        await program.write_eof()

    sending = asyncio.create_task(send())
    assert (await everything(program))[1] == sent
    await sending
    program.close()


async def test_a_terminal_has_the_size_and_the_kind_that_were_asked_for(
    programs: Programs, connection: NodeConnection
) -> None:
    line = enter_job("j", "", (), ("sh", "-c", "stty size; echo $TERM; read x; stty size"))
    program = await programs.start(connection, line, TERMINAL)
    assert b"20 90" in await until(program, b"vt100")
    program.resize(132, 50)
    await program.write(b"\r")
    await until(program, b"50 132")
    assert await program.end() == (0, None)
    program.close()


async def test_a_shell_is_in_the_job(
    programs: Programs, connection: NodeConnection, new_runner: Callable[[], Runner], node: SSHD
) -> None:
    runner = new_runner()
    command = ("sleep", "60")
    await runner.stage(RunSpec(command, environment={"GREETING": "it's me"}, workdir="work"))
    await runner.start()
    program = await programs.start(connection, enter_job(runner.job_id, "work", (), ()), TERMINAL)
    await program.write(b"echo $GREETING, $SKYPORT_JOB_ID, $(pwd)\r")
    told = f"it's me, {runner.job_id}, {node.home}/work"
    await until(program, told.encode())
    await runner.stop(grace=0)
    await everything(program)
    program.close()


async def test_a_prefix_goes_before_the_command(
    programs: Programs, connection: NodeConnection
) -> None:
    line = enter_job("j", "", ("env", "INSIDE=1"), ("sh", "-c", "echo $INSIDE"))
    program = await programs.start(connection, line)
    assert (await everything(program))[1] == b"1\n"
    program.close()


async def test_who_hangs_up_ends_the_program(
    programs: Programs, connection: NodeConnection, tmp_path: Path
) -> None:
    line = enter_job("j", "", (), ("sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"))
    program = await programs.start(connection, line, TERMINAL)
    await eventually(lambda: bool(_read(tmp_path / "pid")), "the program", 10)
    program.close()
    pid = int(_read(tmp_path / "pid"))
    await eventually(lambda: not psutil.pid_exists(pid), "end of the program", 10)


async def test_programs_take_no_sessions_of_the_core(
    pool: ConnectionPool, programs: Programs, connection: NodeConnection
) -> None:
    line = enter_job("j", "", (), ("cat",))
    running = [await programs.start(connection, line) for _ in range(PER_LANE + 1)]
    done = await connection.run(("echo", "still"), timeout=5)
    assert done.stdout == b"still\n"
    for program in running:
        program.close()


async def test_a_node_with_fewer_sessions_gets_more_connections(
    pool: ConnectionPool, programs: Programs, start_node: Callable[..., SSHD]
) -> None:
    node = start_node("MaxSessions 1")
    connection = pool.get("lab", node.node(), node.username)
    line = enter_job("j", "", (), ("cat",))
    running = [await programs.start(connection, line) for _ in range(3)]
    for program in running:
        await program.write(b"here")
        assert await program.read() == (1, b"here")
        program.close()


async def test_a_node_without_terminals_says_so(
    pool: ConnectionPool, programs: Programs, start_node: Callable[..., SSHD]
) -> None:
    node = start_node("PermitTTY no")
    connection = pool.get("lab", node.node(), node.username)
    with pytest.raises(CommandFailed, match="gives no terminals"):
        await programs.start(connection, enter_job("j", "", (), ()), TERMINAL)


async def test_a_lost_node_ends_the_program(
    programs: Programs, connection: NodeConnection, node: SSHD
) -> None:
    program = await programs.start(connection, enter_job("j", "", (), ("cat",)))
    node.cut()
    await everything(program)
    assert await program.end() == (None, None)
    program.close()


async def test_a_port_ends_one_side_after_the_other(connection: NodeConnection) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"said: " + await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        stream = await dial_port(connection, ("127.77.0.1", "127.0.0.1"), port)
        await stream.write(b"hello")
        await stream.write_eof()
        assert await asyncio.wait_for(stream.read(), 10) == (1, b"said: hello")
        assert await asyncio.wait_for(stream.read(), 10) == (1, b"")
        stream.close()


async def test_a_silent_node_opens_nothing_in_time(
    programs: Programs,
    connection: NodeConnection,
    pool: ConnectionPool,
    node: SSHD,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sessions, "TIMEOUT", 0.3)
    monkeypatch.setattr(runner_module, "TIMEOUT", 0.3)
    lane = pool.get(connection.site, connection.node, connection.username, 1)
    links = [await link.ready(10) for link in (connection, lane)]
    await eventually(lambda: len(node.sessions()) == 2, "both connections", 5)
    stopped = node.sessions()
    for session in stopped:
        session.suspend()
    try:
        with pytest.raises(CommandFailed, match="did not open a session"):
            await in_time(programs.start(connection, "true"), 5)
        with pytest.raises(ConnectionRefusedError):
            await in_time(dial_port(connection, ("127.0.0.1", "127.0.0.2"), 1), 5)
        with pytest.raises(CommandFailed, match="did not tell in time"):
            await in_time(Runner(connection, "j").address_free("127.0.0.1", 1), 5)
    finally:
        for session in stopped:
            session.resume()
    await eventually(lambda: not any(link._channels for link in links), "no channel is left", 5)


async def test_a_port_at_which_nothing_answers(connection: NodeConnection) -> None:
    with pytest.raises(ConnectionRefusedError):
        await dial_port(connection, ("127.0.0.1",), 1)


def test_no_text_of_users_reaches_the_shell_unquoted() -> None:
    line = enter_job(str(uuid.uuid4()), "$(touch x)", (), ("a b", "'; touch y"))
    assert "'$(touch x)'" in line
    assert "'a b'" in line


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
