"""Terminals of the local gate's SSH server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncssh
import psutil
import pytest

from skyport_gates.local import LocalGate
from skyport_gates.timing import in_time
from tests.infra.logins import Authority
from tests.infra.wait import eventually


@pytest.fixture
async def ann(
    local: LocalGate, authority: Authority
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    endpoint = (await local.nodes())[0].endpoint
    async with authority.connect(endpoint, "ann") as connection:
        yield connection


async def started(
    ann: asyncssh.SSHClientConnection, command: str | None
) -> asyncssh.SSHClientProcess[bytes]:
    return await ann.create_process(command, encoding=None, term_type="vt100", term_size=(91, 21))


async def until(process: asyncssh.SSHClientProcess[bytes], text: bytes) -> bytes:
    said = b""
    while text not in said:
        data = await in_time(process.stdout.read(4096), 10)
        assert data, said
        said += data
    return said


async def test_a_command_has_a_terminal_of_its_own(ann: asyncssh.SSHClientConnection) -> None:
    process = await started(ann, "stty size; echo $TERM; ps -o tty= -p $$; read x; stty size")
    said = await until(process, b"pts/")
    assert b"21 91\r\nvt100\r\n" in said
    process.change_terminal_size(120, 40)
    process.stdin.write(b"\r")
    await until(process, b"40 120")
    await process.wait_closed()
    assert process.exit_status == 0


async def test_control_c_reaches_what_runs_in_front(ann: asyncssh.SSHClientConnection) -> None:
    process = await started(ann, "trap 'echo caught; exit 3' INT; echo ready; sleep 60")
    await until(process, b"ready")
    process.stdin.write(b"\x03")
    await until(process, b"caught")
    await process.wait_closed()
    assert process.exit_status == 3


async def test_all_that_was_shown_arrives_although_others_have_the_terminal(
    ann: asyncssh.SSHClientConnection,
) -> None:
    process = await started(ann, "trap '' HUP; sleep 2 & seq 30000; exit 4")
    said = await until(process, b"30000\r\n")
    assert said.count(b"\n") == 30000
    await in_time(process.wait_closed(), 2)
    assert process.exit_status == 4


async def test_a_shell_ends_when_its_terminal_is_closed(
    ann: asyncssh.SSHClientConnection,
) -> None:
    process = await started(ann, None)
    # The terminal shows what is typed too; only the shell puts the words together.
    process.stdin.write(b"printf '%s=%s;\\n' pid $$\r")
    said = await until(process, b"pid=")
    if b";\r\n" not in said.rpartition(b"pid=")[2]:
        said += await until(process, b";\r\n")
    pid = int(said.rpartition(b"pid=")[2].partition(b";")[0])
    process.close()
    await eventually(lambda: not psutil.pid_exists(pid), "end of the shell", 10)


async def test_the_end_of_the_input_is_control_d(ann: asyncssh.SSHClientConnection) -> None:
    process = await started(ann, "cat >/dev/null; echo over")
    process.stdin.write_eof()
    await until(process, b"over")
    await process.wait_closed()
