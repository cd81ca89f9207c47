"""The life of the local gate's SSH server: one per folder, outliving the core, found again."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from traitlets import TraitError

from skyport_gates.gate import GateContext, GateUnavailable, NodeHealth, SSHEndpoint
from skyport_gates.local import LocalGate, machine_memory
from skyport_gates.local_files import live_jobs, process_start
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from tests.infra.logins import Authority
from tests.infra.wait import eventually

MakeLocal = Callable[..., LocalGate]


def _server(context: GateContext) -> tuple[int, str]:
    """Process id and start time of the server, from its file."""
    pid, start = (context.home / "pid").read_text().split()
    return int(pid), start


def _runs(context: GateContext) -> bool:
    pid, start = _server(context)
    return process_start(pid) == start


def _locked(context: GateContext) -> bool:
    """Whether any process, also one that is only starting, holds the folder."""
    with (context.home / "lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


async def _endpoint(gate: LocalGate) -> SSHEndpoint:
    return (await gate.nodes())[0].endpoint


async def _echo(gate: LocalGate, authority: Authority) -> str:
    async with authority.connect(await _endpoint(gate), "ann") as connection:
        return str((await connection.run("echo hello")).stdout).strip()


class TestStart:
    async def test_the_server_is_ready_when_start_returns(
        self, make_local: MakeLocal, authority: Authority
    ) -> None:
        gate = make_local()
        begin = time.monotonic()
        await gate.start()
        assert time.monotonic() - begin < 1.5
        assert await _echo(gate, authority) == "hello"

    async def test_files_of_the_server_are_private(
        self, local: LocalGate, context: GateContext
    ) -> None:
        for name in ("host_key", "pid", "port", "lock", "control.sock", "server.log"):
            assert stat.S_IMODE((context.home / name).stat().st_mode) == 0o600, name

    async def test_the_log_says_that_several_users_are_not_kept_apart(
        self, local: LocalGate, authority: Authority
    ) -> None:
        told: list[str] = []
        local.log = logging.Logger("told")
        local.log.addFilter(lambda record: told.append(record.getMessage()) is None)
        for login in ("ann", "ben"):
            async with authority.connect(await _endpoint(local), login) as connection:
                await connection.run("true")
            await local.nodes()
            assert len(told) == (login == "ben")
        assert told[0].startswith("2 logins use site")
        await local.nodes()
        assert len(told) == 1

    async def test_racing_gates_share_one_server(
        self, make_local: MakeLocal, authority: Authority
    ) -> None:
        gates = [make_local() for _ in range(5)]
        await asyncio.gather(*(gate.start() for gate in gates))
        assert len({(await _endpoint(gate)) for gate in gates}) == 1
        assert await _echo(gates[-1], authority) == "hello"

    async def test_a_server_outlives_its_gate_and_is_found_again(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        first = make_local()
        await first.start()
        before = _server(context), await _endpoint(first)
        await first.close(idle=False)
        second = make_local()
        await second.start()
        assert (_server(context), await _endpoint(second)) == before

    async def test_a_server_outlives_the_killed_core(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        core = await _start_core(context)
        server = _server(context)
        core.kill()
        await core.wait()
        gate = make_local()
        await gate.start()
        assert _server(context) == server

    async def test_after_a_kill_it_starts_anew_on_the_same_port_with_the_same_key(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        first = make_local()
        await first.start()
        before = await _endpoint(first)
        await first.close(idle=False)
        pid, _ = _server(context)
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: not _runs(context), "the server is dead")
        second = make_local()
        await second.start()
        assert await _endpoint(second) == before

    async def test_a_port_that_is_taken_is_replaced(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = other.getsockname()[1]
            (context.home / "port").write_text(f"{taken}\n")
            gate = make_local()
            await gate.start()
            assert (await _endpoint(gate)).port != taken

    async def test_a_server_with_other_settings_is_replaced(
        self, make_local: MakeLocal, context: GateContext, tmp_path: Path
    ) -> None:
        first = make_local()
        await first.start()
        await first.close(idle=False)
        before = _server(context)
        second = make_local(homes_dir=str(tmp_path / "elsewhere"))
        await second.start()
        assert _server(context) != before
        assert (tmp_path / "elsewhere").is_dir()

    async def test_a_server_that_another_core_uses_is_not_replaced(
        self, make_local: MakeLocal, context: GateContext, tmp_path: Path
    ) -> None:
        first, second = make_local(), make_local(homes_dir=str(tmp_path / "elsewhere"))
        await first.start()
        server = _server(context)
        with pytest.raises(GateUnavailable, match="another core uses it, with other settings"):
            await second.start()
        assert _server(context) == server

    async def test_a_folder_with_a_long_path_works(
        self, tmp_path: Path, authority: Authority
    ) -> None:
        home = tmp_path / ("x" * 120)
        home.mkdir()
        gate = LocalGate(name="local", context=GateContext("core-1", home, authority.public_key))
        try:
            await gate.start()
            assert await _echo(gate, authority) == "hello"
        finally:
            await gate.close(idle=True)

    async def test_a_start_that_cannot_work_says_why(
        self, make_local: MakeLocal, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        gate = make_local(homes_dir=str(tmp_path / "file" / "homes"))
        with pytest.raises(GateUnavailable, match="could not be started: NotADirectoryError"):
            await gate.start()

    async def test_nodes_before_start_are_unavailable(self, make_local: MakeLocal) -> None:
        with pytest.raises(GateUnavailable, match="has not been started"):
            await make_local().nodes()


class TestHealth:
    async def test_a_killed_server_is_started_again_at_once(
        self, local: LocalGate, context: GateContext, authority: Authority
    ) -> None:
        before = await _endpoint(local)
        pid, _ = _server(context)
        os.kill(pid, signal.SIGKILL)

        async def renewed() -> bool:
            node = (await local.nodes())[0]
            return node.health is NodeHealth.UP and _server(context)[0] != pid

        await eventually(renewed, "a new server serves", timeout=5)
        assert await _endpoint(local) == before
        assert await _echo(local, authority) == "hello"

    async def test_the_node_is_down_with_a_reason_while_no_server_can_be_started(
        self, local: LocalGate, context: GateContext
    ) -> None:
        homes = context.home / "homes"
        homes.rmdir()
        homes.write_text("not a folder")
        os.kill(_server(context)[0], signal.SIGKILL)

        async def down() -> bool:
            node = (await local.nodes())[0]
            return node.health is NodeHealth.DOWN and "could not be started" in node.reason

        await eventually(down, "the node is down")
        homes.unlink()

        async def up() -> bool:
            return (await local.nodes())[0].health is NodeHealth.UP

        await eventually(up, "the node is up again")

    async def test_a_hung_server_is_replaced(
        self, make_local: MakeLocal, context: GateContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("skyport_gates.local_process.ANSWER_TIMEOUT", 0.3)
        gate = make_local(health_interval=0.2)
        await gate.start()
        pid, _ = _server(context)
        os.kill(pid, signal.SIGSTOP)

        async def renewed() -> bool:
            node = (await gate.nodes())[0]
            return node.health is NodeHealth.UP and _server(context)[0] != pid

        await eventually(renewed, "a new server serves")
        assert process_start(pid) is None


class TestEnd:
    async def test_close_stops_an_idle_server_and_waits_until_it_is_gone(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        gate = make_local()
        await gate.start()
        await gate.close(idle=True)
        assert not _runs(context)

    async def test_close_leaves_a_server_that_is_not_idle(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        gate = make_local()
        await gate.start()
        await gate.close(idle=False)
        assert _runs(context)

    async def test_close_leaves_a_server_that_another_core_uses(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        first, second = make_local(), make_local()
        await asyncio.gather(first.start(), second.start())
        server = _server(context)
        await first.close(idle=True)
        assert _server(context) == server
        assert _runs(context)

    async def test_close_during_a_restart_leaves_nothing(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        for pause in (0.0, 0.01, 0.05, 0.1, 0.15, 0.2):
            gate = make_local()
            await gate.start()
            os.kill(_server(context)[0], signal.SIGKILL)
            await asyncio.sleep(pause)  # to meet the restart at another point each time
            await gate.close(idle=True)
            assert not _runs(context)
            assert not _locked(context)

    async def test_close_never_touches_a_process_that_took_the_number(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        stranger = await asyncio.create_subprocess_exec("sleep", "600")
        try:
            (context.home / "pid").write_text(f"{stranger.pid} {process_start(stranger.pid)}\n")
            await make_local().close(idle=True)
            assert stranger.returncode is None
            assert process_start(stranger.pid) is not None
        finally:
            stranger.kill()
            await stranger.wait()

    async def test_it_ends_by_itself_after_the_core_is_gone(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        gate = make_local(idle_exit=0.2)
        await gate.start()
        await gate.close(idle=False)
        await eventually(lambda: not _runs(context), "the server has ended")

    async def test_it_stays_while_the_core_is_there(
        self, make_local: MakeLocal, context: GateContext, authority: Authority
    ) -> None:
        gate = make_local(idle_exit=0.1)
        await gate.start()
        before = _server(context)
        await asyncio.sleep(0.5)  # several times idle_exit: nothing may happen
        assert _server(context) == before
        assert await _echo(gate, authority) == "hello"

    async def test_it_stays_while_a_client_is_connected(
        self, make_local: MakeLocal, context: GateContext, authority: Authority
    ) -> None:
        gate = make_local(idle_exit=0.1)
        await gate.start()
        async with authority.connect(await _endpoint(gate), "ann") as connection:
            await gate.close(idle=False)
            await asyncio.sleep(0.5)  # several times idle_exit: nothing may happen
            assert str((await connection.run("echo hello")).stdout) == "hello\n"
        await eventually(lambda: not _runs(context), "the server has ended")

    async def test_it_stays_while_a_job_lives(
        self, make_local: MakeLocal, context: GateContext
    ) -> None:
        job = await asyncio.create_subprocess_exec("sleep", "600")
        try:
            _record_job(context.home / "homes" / "ann", job.pid)
            gate = make_local(idle_exit=0.1)
            await gate.start()
            await gate.close(idle=False)
            await asyncio.sleep(0.5)  # several times idle_exit: nothing may happen
            assert _runs(context)
        finally:
            job.kill()
            await job.wait()
        await eventually(lambda: not _runs(context), "the server has ended")


class TestJobsAlive:
    def test_a_recorded_process_that_lives_counts(self, tmp_path: Path) -> None:
        _record_job(tmp_path / "ann", os.getpid())
        assert live_jobs(tmp_path)

    def test_a_reused_process_id_does_not_count(self, tmp_path: Path) -> None:
        _record_job(tmp_path / "ann", os.getpid(), start="1")
        assert not live_jobs(tmp_path)

    def test_a_job_that_has_ended_does_not_count(self, tmp_path: Path) -> None:
        folder = _record_job(tmp_path / "ann", os.getpid())
        (folder / "exit").write_text("0 0\n")
        assert not live_jobs(tmp_path)

    def test_a_broken_record_does_not_hide_a_living_job(self, tmp_path: Path) -> None:
        for name in ("a", "z"):
            broken = tmp_path / name / ".skyport/jobs/1/.runner/lock"
            broken.parent.mkdir(parents=True)
            broken.write_text("nonsense")
        _record_job(tmp_path / "m", os.getpid())
        assert live_jobs(tmp_path)

    def test_what_is_no_record_holds_up_nobody(self, tmp_path: Path) -> None:
        for name in ("a", "b", "z"):
            (tmp_path / name / ".skyport/jobs/1/.runner").mkdir(parents=True)
        os.mkfifo(tmp_path / "a/.skyport/jobs/1/.runner/lock")
        (tmp_path / "b/.skyport/jobs/1/.runner/lock").symlink_to("/dev/zero")
        (tmp_path / "z/.skyport/jobs/1/.runner/lock").mkdir()
        assert not live_jobs(tmp_path)


class TestInventory:
    async def test_the_machine_is_one_node_of_one_flavor(self, local: LocalGate) -> None:
        (flavor,), (node,) = await local.flavors(), await local.nodes()
        assert (flavor.name, flavor.capacity, flavor.price) == ("local", 1, None)
        assert (node.name, node.flavor, node.cpus) == ("localhost", "local", flavor.cpus)
        assert node.cpus == len(os.sched_getaffinity(0))

    async def test_its_size_can_be_configured(self, make_local: MakeLocal) -> None:
        gate = make_local(cpus=1.5, memory=2048, gpus=2, gpu_type="A100", flavor="here")
        (flavor,) = await gate.flavors()
        assert (flavor.name, flavor.cpus, flavor.memory) == ("here", 1.5, 2048)
        assert (flavor.gpus, flavor.gpu_type) == (2, "A100")

    def test_no_cpus_at_all_are_refused(self, make_local: MakeLocal) -> None:
        with pytest.raises(TraitError):
            make_local(cpus=0)

    def test_a_control_groups_limit_counts_if_it_is_lower(self, tmp_path: Path) -> None:
        meminfo, limit = tmp_path / "meminfo", tmp_path / "memory.max"
        meminfo.write_text("MemTotal: 16777216 kB\n")
        limit.write_text(f"{4 * 2**30}\n")
        assert machine_memory(meminfo, [limit, tmp_path / "absent"]) == 4096
        limit.write_text("max\n")
        assert machine_memory(meminfo, [limit]) == 16384


def _record_job(home: Path, pid: int, start: str | None = None) -> Path:
    """Record a process as the supervisor of a job, as the runner on a node does."""
    folder = home / ".skyport/jobs/1/.runner"
    folder.mkdir(parents=True, exist_ok=True)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (folder / "lock").write_text(f"{pid} {start or process_start(pid)} {boot}\n")
    return folder


async def _start_core(context: GateContext) -> asyncio.subprocess.Process:
    """Another process with a local gate on the same folder, once that is started."""
    program = """
import asyncio, sys
from pathlib import Path
from skyport_gates.gate import GateContext
from skyport_gates.local import LocalGate

async def main():
    context = GateContext("core-1", Path(sys.argv[1]), sys.argv[2])
    gate = LocalGate(name="local", context=context)
    await gate.start()
    print("started", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    core = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        program,
        str(context.home),
        context.user_ca,
        stdout=asyncio.subprocess.PIPE,
    )
    assert core.stdout is not None
    assert await core.stdout.readline() == b"started\n"
    return core


async def test_a_server_that_another_process_is_about_to_start_is_waited_for(
    context: GateContext,
) -> None:
    home = context.home
    processes = [LocalProcess(Settings(home, home / "homes", context.user_ca)) for _ in range(3)]
    cores = [asyncio.ensure_future(_start_core(context)) for _ in range(2)]
    attachments = await asyncio.gather(*(process.attach() for process in processes))
    try:
        assert len({attachment.hello.pid for attachment in attachments}) == 1
    finally:
        for attachment in attachments:
            await attachment.close()
        for core in await asyncio.gather(*cores):
            with contextlib.suppress(ProcessLookupError):
                core.kill()
            await core.wait()
        await processes[0].stop()


async def test_the_host_key_is_made_once(local: LocalGate, context: GateContext) -> None:
    key = asyncssh.read_public_key(context.home / "host_key.pub")
    assert (await _endpoint(local)).host_keys == (key.export_public_key().decode().strip(),)
