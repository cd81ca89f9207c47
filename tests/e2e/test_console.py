"""The console against a real core: jobs on this machine, by socket and by HTTPS."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from skyport_core.model import JobState
from skyport_core.wire import JobQuery, JobView
from tests.infra.core import CoreProcess
from tests.infra.ports import free_ports
from tests.infra.terminal import CTRL_C, Terminal
from tests.infra.wait import eventually

PROGRAM = (sys.executable, "-m", "skyport_core.console")
SCRIPT = """#!/bin/sh
#SWM name sums
#SWM input-files data.txt
#SWM output-files total.txt
read first < data.txt
echo "input $first $1"
echo "warned" >&2
echo 42 > total.txt
exit 5
"""
ECHO = (
    "import socketserver as s\n"
    "class E(s.StreamRequestHandler):\n"
    "    def handle(self): self.wfile.write(b'echo ' + self.rfile.readline())\n"
    "s.ThreadingTCPServer(('127.0.0.1', {port}), E).serve_forever()\n"
)


@dataclass
class Desk:
    """A person at a machine, with a folder and a core."""

    core: CoreProcess
    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        given = {
            name: value for name, value in os.environ.items() if not name.startswith("SKYPORT")
        }
        config = {"XDG_CONFIG_HOME": str(self.folder / "config"), "TERM": "xterm"}
        return {**given, **config, "SKYPORT_SOCKET": str(self.core.socket)}

    async def start(self, *words: str, stdin: int | None = None) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *PROGRAM,
            *words,
            cwd=self.folder,
            env=self.environment,
            stdin=asyncio.subprocess.DEVNULL if stdin is None else stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(self, *words: str, stdin: bytes | None = None) -> tuple[int, str, str]:
        piped = None if stdin is None else asyncio.subprocess.PIPE
        process = await self.start(*words, stdin=piped)
        out, err = await asyncio.wait_for(process.communicate(stdin), 30)
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    def terminal(self, *words: str) -> Terminal:
        log = self.folder / f"screen-{len(list(self.folder.iterdir()))}"
        return Terminal([*PROGRAM, *words], log, cwd=self.folder, env=self.environment)

    async def job(self, state: JobState = JobState.RUNNING) -> JobView:
        """The newest job, once it is in a state."""
        async with self.core.client() as client:

            async def there() -> JobView | None:
                page = await client.job_page(JobQuery(limit=1, state=(state,)))
                return page.jobs[0] if page.jobs else None

            return await eventually(there, f"a job that is {state.value}", 20)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    (port,) = free_ports(1)
    config = f"c.SkyPortCore.https_port = {port}\nc.SkyPortCore.https_address = '127.0.0.1'\n"
    async with CoreProcess(config) as core:
        async with core.client() as client:
            await eventually(client.nodes, "the node of this machine", 30)
        yield Desk(core, tmp_path, port)


async def shown(terminal: Terminal, text: str) -> None:
    await eventually(
        lambda: terminal.log.exists() and text in terminal.log.read_text(errors="replace"),
        f"{text!r} on the terminal",
        20,
    )


async def test_a_script_runs_over_https_as_if_it_ran_here(desk: Desk) -> None:
    status, _, errors = await desk("cert", "issue", "mine", "--name", "alice")
    assert status == 0, errors
    files = ["--cert", "mine/cert.pem", "--key", "mine/key.pem", "--ca", "mine/ca.pem"]
    where = f"localhost:{desk.port}"
    assert (await desk("context", "add", "lab", "--https", where, *files))[0] == 0
    lab = ("--context", "lab")
    (desk.folder / "job.sh").write_text(SCRIPT)
    (desk.folder / "data.txt").write_text("one\n")
    done = await desk(*lab, "run", "--get", "home", "job.sh", "word")
    assert (done[0], done[1]) == (5, "input one word\n")
    assert done[2].startswith("warned\n")
    assert (desk.folder / "home" / "total.txt").read_text() == "42\n"
    _, text, _ = await desk(*lab, "jobs", "--all", "--json")
    (job,) = json.loads(text)
    assert (job["owner"], job["name"], job["exit_code"]) == ("alice", "sums", 5)
    assert (await desk(*lab, "get", job["id"][:6], "--to", "again"))[0] == 0
    assert (desk.folder / "again" / "total.txt").read_text() == "42\n"
    assert (await desk(*lab, "cert", "renew"))[0] == 0
    assert (await desk(*lab, "logs", job["id"]))[1] == "input one word\n"


async def test_a_shell_and_a_port_on_the_node_of_a_job(desk: Desk) -> None:
    (port,) = free_ports(1)
    program = ECHO.format(port=port)
    assert (await desk("submit", "--", sys.executable, "-c", program))[0] == 0
    job = await desk.job()
    words = ["sh", "-c", "cat; echo said >&2; exit 3"]
    assert await desk("ssh", job.id, "--", *words, stdin=b"piped\n") == (3, "piped\n", "said\n")
    with desk.terminal("ssh", job.id) as terminal:
        terminal.press(b"stty size; echo $((40 + 2))done\n")
        await shown(terminal, "42done")
        terminal.press(b"echo $((1 + 1))naps; sleep 100\n")
        await shown(terminal, "2naps")
        terminal.press(CTRL_C)
        terminal.press(b"exit 7\n")
        assert await asyncio.to_thread(terminal.process.wait, 20) == 7
    (local,) = free_ports(1)
    forwarding = await desk.start("forward", job.id, str(port), str(local))
    assert forwarding.stdout is not None
    assert str(local).encode() in await asyncio.wait_for(forwarding.stdout.readline(), 20)

    async def answer() -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", local)
        writer.write(b"hello\n")
        try:
            return await reader.read()
        finally:
            writer.close()

    await eventually(lambda: _equal(answer, b"echo hello\n"), "an answer from the port", 20)
    assert await asyncio.gather(*(answer() for _ in range(5))) == [b"echo hello\n"] * 5
    forwarding.send_signal(signal.SIGINT)
    assert await asyncio.wait_for(forwarding.wait(), 20) == 130


async def _equal(answer, wanted: bytes) -> bool:
    return await answer() == wanted


async def test_ctrl_c_cancels_what_run_started_unless_it_is_detached(desk: Desk) -> None:
    with desk.terminal("run", "--", "sh", "-c", "echo begun; sleep 100") as terminal:
        await shown(terminal, "begun")
        terminal.press(CTRL_C)
        assert await asyncio.to_thread(terminal.process.wait, 20) == 130
    cancelled = await desk.job(JobState.CANCELLED)
    with desk.terminal("run", "--detach", "--", "sh", "-c", "echo begun; sleep 100") as terminal:
        await shown(terminal, "begun")
        terminal.press(CTRL_C)
        assert await asyncio.to_thread(terminal.process.wait, 20) == 130
        await shown(terminal, "goes on")
    assert (await desk.job()).id != cancelled.id
