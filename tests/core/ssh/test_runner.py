"""Jobs on a node: their surroundings, their end, and that they need nobody to go on."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path, PurePosixPath

import asyncssh
import psutil
import pytest

from skyport_core.ssh import files
from skyport_core.ssh.connection import NodeConnection
from skyport_core.ssh.errors import CommandFailed, DiskFull, ForwardRefused, StagingFailed
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.runner import Runner, RunnerStatus, RunSpec
from skyport_gates.gate import Node, SSHEndpoint
from skyport_gates.timing import in_time
from tests.infra.sshd import SSHD

from .conftest import StartNode
from .waiting import alive, carrying, until, until_logged, until_state

NewRunner = Callable[[], Runner]
SLEEP = ("sleep", "3600")
NAUGHTY = "line one\nline 'two' \"2\" `id` $(id) $HOME \\ é ☃ \t end\n"


def script(text: str, *arguments: str, **options: object) -> RunSpec:
    return RunSpec(("sh", "-c", text, "job", *arguments), **options)  # type: ignore[arg-type]


async def launch(runner: Runner, spec: RunSpec) -> RunnerStatus:
    await runner.stage(spec)
    return await runner.start()


async def finish(runner: Runner, spec: RunSpec) -> RunnerStatus:
    await launch(runner, spec)
    return await until_state(runner, "exited")


# -- what a job gets ------------------------------------------------------------------------------


async def test_exit_status_and_output_are_kept(runner: Runner) -> None:
    status = await finish(runner, script("echo out; echo err >&2; exit 7"))
    assert status == RunnerStatus("exited", exit_code=7)
    assert await runner.log() == b"out\nerr\n"


async def test_the_streams_can_be_kept_apart(runner: Runner) -> None:
    await finish(runner, script("echo out; echo err >&2", merge_output=False))
    assert await runner.log() == b"out\n"
    assert await runner.log("stderr") == b"err\n"
    assert await runner.tail() == "err"


async def test_values_survive_as_they_are(runner: Runner) -> None:
    spec = script('printf "%s|" "$VALUE" "$@"', NAUGHTY, "", environment={"VALUE": NAUGHTY})
    await finish(runner, spec)
    assert (await runner.log()).decode() == f"{NAUGHTY}|{NAUGHTY}||"


async def test_the_environment_is_the_given_one_on_top_of_a_login(
    runner: Runner, node: SSHD
) -> None:
    await finish(runner, RunSpec(("env", "-0"), {"GIVEN": "yes"}))
    lines = (await runner.log()).decode().rstrip("\0").split("\0")
    found = dict(line.split("=", 1) for line in lines)
    assert found.pop("GIVEN") == "yes"
    assert found.pop("HOME") == str(node.home)
    assert found.pop("USER") == found.pop("LOGNAME") == node.username
    assert found.pop("SKYPORT_JOB_ID") == runner.job_id
    assert {"PATH", "SHELL", "LANG"} <= found.keys()
    assert found.keys() <= {"PATH", "SHELL", "LANG", "PWD", "SHLVL", "_"}


async def test_names_that_shells_keep_for_themselves_are_passed_too(runner: Runner) -> None:
    names = ("UID", "PPID", "OPTIND", "LINENO", "SHELLOPTS", "RANDOM", "PWD", "IFS", "HOME", "ENV")
    await finish(runner, RunSpec(("env", "-0"), dict.fromkeys(names, "mine")))
    lines = (await runner.log()).decode().split("\0")
    assert [name for name in names if f"{name}=mine" not in lines] == []


async def test_a_path_in_the_environment_finds_the_command(runner: Runner, node: SSHD) -> None:
    program = node.home / "tools" / "my-tool"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho found $1\n")
    program.chmod(0o755)
    path = f"{program.parent}:/usr/bin:/bin"
    await finish(runner, RunSpec(("my-tool", "it"), {"PATH": path}))
    assert await runner.log() == b"found it\n"


async def test_a_missing_command_is_named(runner: Runner) -> None:
    status = await finish(runner, RunSpec(("no-such-program", "x")))
    assert status.exit_code == 127
    assert "no-such-program" in await runner.tail()


async def test_the_working_directory_is_made_below_the_home(runner: Runner, node: SSHD) -> None:
    await finish(runner, script("pwd", workdir="deep/er down"))
    assert (await runner.log()).decode().strip() == str(node.home / "deep" / "er down")


async def test_files_arrive_with_their_modes(runner: Runner) -> None:
    files = (("conf/a b.txt", 0o640, b"\0\xff"), ("run", 0o755, b"#!/bin/sh\necho ran\n"))
    await runner.stage(RunSpec(SLEEP, files=files))
    folder = Path(await runner.job_dir())
    assert (folder / "conf/a b.txt").read_bytes() == b"\0\xff"
    assert (folder / "conf/a b.txt").stat().st_mode & 0o777 == 0o640
    assert subprocess.run([folder / "run"], capture_output=True).stdout == b"ran\n"


@pytest.mark.parametrize("request_", ["makedirs", "open", "posix_rename"])
async def test_staging_to_a_node_that_falls_silent_fails(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, request_: str
) -> None:
    async def silent(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(asyncssh.SFTPClient, request_, silent)
    monkeypatch.setattr(files, "SILENCE", 0.2)
    with pytest.raises(StagingFailed, match="stood still"):
        await in_time(runner.stage(RunSpec(SLEEP, files=(("conf/x", 0o600, b"x"),))), 10)


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", ".runner/job.sh", "stdout.log", ""])
async def test_a_file_outside_the_folder_or_over_the_runner_is_refused(
    runner: Runner, path: str
) -> None:
    with pytest.raises(StagingFailed):
        await runner.stage(RunSpec(SLEEP, files=((path, 0o600, b""),)))


async def test_secrets_are_in_private_files_only(runner: Runner) -> None:
    await launch(runner, RunSpec(SLEEP, {"TOKEN": "very-secret-81"}))
    folder = Path(await runner.job_dir())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / ".runner" / "job.sh").stat().st_mode & 0o777 == 0o600
    for process in psutil.process_iter(["cmdline"]):
        assert "very-secret-81" not in " ".join(process.info["cmdline"] or [])


STANDARD_SIGNALS = 2**31 - 1
"""Numbers 1 to 31; those above are real-time signals, some of them the C library's own."""


async def test_a_job_ignores_no_signal(runner: Runner) -> None:
    """Started with "&", it would ignore SIGINT, and so would the kernels it starts."""
    await finish(runner, RunSpec(("grep", "SigIgn", "/proc/self/status")))
    ignored = int((await runner.log()).split()[-1], 16)
    assert ignored & STANDARD_SIGNALS == 0


async def test_a_job_can_be_interrupted(runner: Runner) -> None:
    status = await launch(runner, script("echo up; exec sleep 3600"))
    await until_logged(runner, b"up")
    assert status.pid is not None
    os.kill(status.pid, signal.SIGINT)
    assert (await until_state(runner, "exited")).exit_code == 128 + signal.SIGINT


async def test_the_exec_prefix_comes_before_the_command(runner: Runner) -> None:
    await finish(runner, RunSpec(("sh", "-c", "echo $PLACE"), exec_prefix=("env", "PLACE=inside")))
    assert await runner.log() == b"inside\n"


# -- starting once --------------------------------------------------------------------------------


async def test_the_states_of_a_life(runner: Runner) -> None:
    assert (await runner.status()).state == "absent"
    await runner.stage(RunSpec(SLEEP))
    assert (await runner.status()).state == "staged"
    started = await runner.start()
    assert started.state == "running"
    assert started.pid is not None and alive(started.pid)
    assert (await runner.stop(grace=5)).exit_code == 128 + signal.SIGTERM
    await runner.remove()
    assert (await runner.status()).state == "absent"


async def test_ten_starts_at_once_start_it_once(runner: Runner) -> None:
    await runner.stage(script("echo started; sleep 3600"))
    statuses = await asyncio.gather(*(runner.start() for _ in range(10)))
    assert len({status.pid for status in statuses}) == 1
    await until_logged(runner, b"started")
    assert await runner.log() == b"started\n"


async def test_starting_and_staging_again_changes_nothing(runner: Runner) -> None:
    await finish(runner, script("echo once"))
    await runner.stage(script("echo twice"))
    assert (await runner.start()).state == "exited"
    assert await runner.log() == b"once\n"


async def test_a_job_that_was_stopped_before_its_start_never_starts(runner: Runner) -> None:
    await runner.stage(script("echo ran"))
    await runner.stop()
    assert (await runner.start()).state == "exited"
    assert await runner.log() == b""


async def test_a_job_that_was_stopped_before_its_staging_never_starts(runner: Runner) -> None:
    assert (await runner.stop()).state == "exited"
    await runner.stage(script("echo ran"))
    assert (await runner.start()).state == "exited"
    assert await runner.log() == b""


async def test_a_job_that_is_not_staged_cannot_start(runner: Runner) -> None:
    with pytest.raises(CommandFailed) as caught:
        await runner.start()
    assert caught.value.reason == "not_staged"


async def test_two_jobs_started_together_keep_apart(new_runner: NewRunner) -> None:
    first, second = new_runner(), new_runner()
    await asyncio.gather(
        finish(first, script("echo $WHO; exit 1", environment={"WHO": "first"})),
        finish(second, script("echo $WHO; exit 2", environment={"WHO": "second"})),
    )
    assert [await first.log(), await second.log()] == [b"first\n", b"second\n"]
    assert [(await first.status()).exit_code, (await second.status()).exit_code] == [1, 2]


# -- going on alone -------------------------------------------------------------------------------


async def test_a_job_outlives_its_connection_and_sshd(
    runner: Runner, connection: NodeConnection, node: SSHD
) -> None:
    before = await launch(runner, RunSpec(SLEEP))
    node.kill()
    await until(lambda: connection.last_error is not None, "the loss is noticed")
    node.start()
    assert await runner.status() == before


async def test_a_job_ends_and_is_recorded_while_nobody_looks(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    os.mkfifo(go)
    await launch(runner, script(f"read line <{go}; exit 9"))
    node.kill()
    go.write_text("\n")
    folder = node.home / ".skyport" / "jobs" / runner.job_id / ".runner" / "exit"
    await until(folder.exists, "the end is recorded")
    node.start()
    assert (await until_state(runner, "exited")).exit_code == 9


async def test_another_core_takes_a_job_over(
    runner: Runner, identity: SSHIdentity, node: SSHD
) -> None:
    started = await launch(runner, RunSpec(SLEEP))
    pool = ConnectionPool(identity)
    other = Runner(pool.get("lab", node.node(), node.username), runner.job_id)
    await other.stage(RunSpec(("echo", "other")))
    assert (await other.start()).pid == started.pid
    await pool.close()


async def test_a_started_job_holds_nothing_of_its_session(
    runner: Runner, connection: NodeConnection
) -> None:
    """The channel of the start would stay open otherwise, and with it this call."""
    await runner.stage(RunSpec(SLEEP))
    await asyncio.wait_for(runner.start(), 5)
    status = await runner.status()
    job = psutil.Process(status.pid)
    supervisor = job.parent()
    assert supervisor is not None
    for process in (job, supervisor):
        targets = [str(path.readlink()) for path in Path(f"/proc/{process.pid}/fd").iterdir()]
        assert [target for target in targets if target.startswith(("pipe:", "socket:"))] == []
        assert os.getsid(process.pid) == process.pid


async def test_a_job_whose_supervisor_was_killed_is_lost_and_can_be_stopped(
    runner: Runner,
) -> None:
    status = await launch(runner, RunSpec(SLEEP))
    assert status.pid is not None
    supervisor = psutil.Process(status.pid).parent()
    assert supervisor is not None
    supervisor.kill()
    assert (await until_state(runner, "lost")).exit_code is None
    await runner.stop(grace=5)
    assert not alive(status.pid)


async def test_a_reused_process_number_is_not_taken_for_the_job(runner: Runner) -> None:
    status = await launch(runner, RunSpec(SLEEP))
    assert status.pid is not None
    supervisor = psutil.Process(status.pid).parent()
    assert supervisor is not None
    supervisor.kill()
    os.killpg(status.pid, signal.SIGKILL)
    await until_state(runner, "lost")
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        records = Path(await runner.job_dir()) / ".runner"
        for name in ("lock", "job"):
            _, born, boot = (records / name).read_text().split()
            (records / name).write_text(f"{stranger.pid} {born} {boot}\n")
        assert (await runner.status()).state == "lost"
        await runner.stop(grace=0)
        assert stranger.poll() is None
        stranger.kill()


# -- ending ---------------------------------------------------------------------------------------


async def test_a_stop_ends_all_processes_of_the_job(runner: Runner) -> None:
    await launch(runner, script("sleep 3601 & sh -c 'sleep 3602; :' & echo up; wait"))
    await until_logged(runner, b"up")
    await runner.stop(grace=5)
    assert carrying(runner.job_id) == []


async def test_a_stop_ends_processes_in_sessions_of_their_own(runner: Runner) -> None:
    await launch(runner, script("setsid sleep 3603 & setsid setsid sleep 3604; echo up; wait"))
    await until_logged(runner, b"up")
    await until(lambda: len(carrying(runner.job_id)) >= 3, "all processes are there")
    await runner.stop(grace=5)
    assert carrying(runner.job_id) == []


async def test_processes_left_by_a_job_that_ended_are_ended_too(runner: Runner) -> None:
    status = await finish(runner, script("setsid setsid sleep 3605; sleep 3606 & exit 4"))
    assert status.exit_code == 4
    assert carrying(runner.job_id) == []


async def test_a_job_that_ignores_term_is_killed_after_the_grace(runner: Runner) -> None:
    await launch(runner, script("trap '' TERM; echo up; while :; do sleep 1; done"))
    await until_logged(runner, b"up")
    assert (await runner.stop(grace=1)).exit_code == 128 + signal.SIGKILL
    assert carrying(runner.job_id) == []


async def test_a_job_may_end_in_good_order_within_the_grace(runner: Runner) -> None:
    await launch(
        runner, script("trap 'echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    )
    await until_logged(runner, b"up")
    assert (await runner.stop(grace=10)).exit_code == 0
    assert (await runner.log()).endswith(b"bye\n")


async def test_stopping_again_and_after_the_end_changes_nothing(runner: Runner) -> None:
    await finish(runner, script("exit 3"))
    assert (await runner.stop()).exit_code == 3
    assert (await runner.stop()).exit_code == 3


async def test_the_node_ends_a_job_at_its_walltime(runner: Runner, node: SSHD) -> None:
    await launch(runner, RunSpec(SLEEP, walltime=1))
    node.kill()
    record = node.home / ".skyport" / "jobs" / runner.job_id / ".runner" / "exit"
    await until(record.exists, "the walltime passed")
    node.start()
    status = await until_state(runner, "exited")
    assert (status.timed_out, status.exit_code) == (True, 128 + signal.SIGTERM)


async def test_a_job_within_its_walltime_leaves_no_timer(runner: Runner) -> None:
    status = await finish(runner, script("exit 0", walltime=98765))
    assert not status.timed_out
    await until(lambda: carrying("98765") == [], "the timer is gone")


async def test_a_running_job_is_not_removed(runner: Runner) -> None:
    await launch(runner, RunSpec(SLEEP))
    with pytest.raises(CommandFailed, match="still runs"):
        await runner.remove()


# -- looking and collecting -----------------------------------------------------------------------


async def test_the_log_is_read_piece_by_piece(runner: Runner) -> None:
    await finish(runner, script("printf 0123456789"))
    assert await runner.log(offset=3, limit=4) == b"3456"
    assert await runner.log(offset=8) == b"89"
    assert await runner.log(offset=100) == b""


async def test_the_tail_is_the_last_lines(runner: Runner) -> None:
    await finish(runner, script("seq 1 50000"))
    assert await runner.tail(3) == "49998\n49999\n50000"


async def test_outputs_come_home_with_their_folders(runner: Runner, tmp_path: Path) -> None:
    text = (
        "mkdir -p sub/deep; echo a >a.txt; echo b >sub/b.txt; echo c >sub/deep/c.txt; echo d >d.bin"
    )
    await finish(runner, script(text, workdir="work"))
    found = await runner.collect(["*.txt", "sub"], tmp_path / "home", workdir="work")
    assert found.files == [PurePosixPath(name) for name in ("a.txt", "sub/b.txt", "sub/deep/c.txt")]
    assert (tmp_path / "home" / "sub" / "deep" / "c.txt").read_text() == "c\n"


async def test_links_that_lead_outside_are_not_followed(runner: Runner, tmp_path: Path) -> None:
    await finish(runner, script("ln -s /etc/passwd p; ln -s / root; echo x >x", workdir="work"))
    found = await runner.collect(["**"], tmp_path / "home", workdir="work")
    assert found.files == [PurePosixPath("x")]


@pytest.mark.parametrize("pattern", ["../x", "/etc/passwd", "a/../../b", ""])
async def test_outputs_outside_the_working_directory_are_refused(
    runner: Runner, tmp_path: Path, pattern: str
) -> None:
    with pytest.raises(StagingFailed, match="not a path below"):
        await runner.collect([pattern], tmp_path / "home")


async def test_outputs_beyond_the_limit_are_refused(runner: Runner, tmp_path: Path) -> None:
    await finish(runner, script("printf 0123456789 >big", workdir="work"))
    with pytest.raises(StagingFailed) as caught:
        await runner.collect(["big"], tmp_path / "home", workdir="work", limit=9)
    assert caught.value.reason == "outputs_too_large"


async def test_an_address_is_free_until_something_listens(runner: Runner) -> None:
    with socket.create_server(("127.66.1.2", 0)) as server:
        port = server.getsockname()[1]
        assert not await runner.address_free("127.66.1.2", port)
    assert await runner.address_free("127.66.1.2", port)


async def test_an_address_cannot_be_looked_at_without_forwarding(
    pool: ConnectionPool, start_node: StartNode
) -> None:
    node = start_node("AllowTcpForwarding no")
    with pytest.raises(ForwardRefused):
        await Runner(pool.get("lab", node.node(), node.username), "j").address_free("127.0.0.1", 9)


# -- full disks -----------------------------------------------------------------------------------


@pytest.fixture
def small_home(tmp_path: Path) -> Iterator[Path]:
    """A home of 256 KiB."""
    home = tmp_path / "small"
    home.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "small", home], check=True)
    yield home
    subprocess.run(["umount", home], check=True)


@pytest.fixture
async def small_runner(
    small_home: Path, pool: ConnectionPool, start_node: StartNode
) -> AsyncIterator[Runner]:
    node = start_node(home=small_home)
    runner = Runner(pool.get("lab", node.node(), node.username), "small")
    yield runner
    (small_home / "filler").unlink(missing_ok=True)
    await runner.stop(grace=0)
    await runner.remove()
    await pool.close()


def fill(home: Path) -> None:
    with (home / "filler").open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            return


async def test_files_that_do_not_fit_are_told_as_a_full_disk(small_runner: Runner) -> None:
    with pytest.raises(DiskFull):
        await small_runner.stage(RunSpec(SLEEP, files=(("big", 0o600, bytes(2**20)),)))


async def test_a_full_disk_at_the_start_is_told_and_runs_nothing(
    small_runner: Runner, small_home: Path
) -> None:
    await small_runner.stage(script("echo ran"))
    fill(small_home)
    with pytest.raises(DiskFull):
        await small_runner.start()
    (small_home / "filler").unlink()
    assert (await small_runner.status()).state == "staged"
    assert (await finish(small_runner, script("echo ran"))).exit_code == 0


async def test_a_staged_job_can_be_stopped_on_a_full_disk(
    small_runner: Runner, small_home: Path
) -> None:
    await small_runner.stage(script("echo ran", files=(("data", 0o600, bytes(8192)),)))
    fill(small_home)
    assert (await small_runner.stop()).state == "exited"
    assert (await small_runner.start()).state == "exited"
    assert await small_runner.log() == b""


async def test_the_end_is_recorded_on_a_full_disk(small_runner: Runner, small_home: Path) -> None:
    await launch(small_runner, script("while [ ! -e go ]; do sleep 0.02; done; exit 6"))
    await until((small_home / ".skyport/jobs/small/.runner/job").exists, "the job is recorded")
    (small_home / "go").touch()
    fill(small_home)
    assert (await until_state(small_runner, "exited")).exit_code == 6


# -- other shells and servers ---------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
async def test_every_posix_shell_runs_a_job(
    pool: ConnectionPool, start_node: StartNode, tmp_path: Path, shell: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    if shell == "busybox":
        names = subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True)
        for name in names.stdout.split():
            (tools / name).symlink_to("/usr/bin/busybox")
        path = str(tools)
    else:
        (tools / "sh").symlink_to(f"/bin/{shell}")
        path = f"{tools}:/usr/bin:/bin"
    node = start_node(f"SetEnv HOME={tmp_path}/home PATH={path}", home=tmp_path / "home")
    runner = Runner(pool.get("lab", node.node(), node.username), "shelled")
    text = 'echo "$VALUE"; trap "echo bye; exit 5" TERM; while :; do sleep 0.1; done'
    environment = {"VALUE": NAUGHTY, "UID": "5", "OPTIND": "1"}
    spec = script(text, environment=environment, walltime=3600, stdin="/etc/passwd", stdout="o/ut")
    await launch(runner, spec)
    await until_logged(runner, b"end\n")
    assert (await runner.set_walltime(7200)).state == "running"
    assert (await runner.stop(grace=10)).exit_code == 5
    output = (await runner.log()).decode()
    assert output.startswith(f"{NAUGHTY}\n") and output.endswith("bye\n")
    assert (tmp_path / "home/o/ut").read_text() == output
    await until(lambda: carrying("shelled/.runner/runner.sh limit") == [], "the timer is gone")
    await runner.remove()


async def test_a_node_without_setsid_runs_a_job_by_job_control(
    pool: ConnectionPool, start_node: StartNode, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for program in (*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()):
        if program.name not in ("sh", "setsid") and not (tools / program.name).is_symlink():
            (tools / program.name).symlink_to(program)
    (tools / "sh").symlink_to("/bin/bash")
    node = start_node(f"SetEnv HOME={tmp_path}/home PATH={tools}", home=tmp_path / "home")
    runner = Runner(pool.get("lab", node.node(), node.username), "plain")
    await launch(runner, script("sleep 3607 & echo up; wait"))
    await until_logged(runner, b"up")
    assert (await runner.stop(grace=5)).exit_code == 128 + signal.SIGTERM
    assert carrying("SKYPORT_JOB_ID': 'plain'") == []
    await runner.remove()


async def test_an_asyncssh_server_is_a_node_too(
    pool: ConnectionPool, identity: SSHIdentity, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()

    async def execute(process: asyncssh.SSHServerProcess[bytes]) -> None:
        child = await asyncio.create_subprocess_shell(
            process.command or "",
            cwd=home,
            env={"HOME": str(home), "USER": "ada", "PATH": "/usr/bin:/bin"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        stdout, stderr = await child.communicate(await process.stdin.read())
        process.stdout.write(stdout)
        process.stderr.write(stderr)
        process.exit(child.returncode or 0)

    host_key = asyncssh.generate_private_key("ssh-ed25519")
    authorities = tmp_path / "authorities"
    authorities.write_text(f"cert-authority {identity.user_ca}\n")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[host_key],
        authorized_client_keys=str(authorities),
        process_factory=execute,
        sftp_factory=lambda channel: asyncssh.SFTPServer(channel),
        encoding=None,
    )
    endpoint = SSHEndpoint(
        "127.0.0.1",
        server.get_port(),
        host_keys=(host_key.export_public_key().decode().strip(),),
    )
    runner = Runner(pool.get("lab", Node("a", endpoint), "ada"), "elsewhere")
    status = await finish(runner, script('echo "$VALUE"; exit 3', environment={"VALUE": NAUGHTY}))
    assert status.exit_code == 3
    assert (await runner.log()).decode() == f"{NAUGHTY}\n"
    await runner.remove()
    await pool.close()
    server.close()
    await server.wait_closed()


async def test_a_noisy_login_shell_does_no_harm(
    pool: ConnectionPool, start_node: StartNode
) -> None:
    node = start_node('ForceCommand echo welcome; echo dear >&2; eval "$SSH_ORIGINAL_COMMAND"')
    runner = Runner(pool.get("lab", node.node(), node.username), "noisy")
    assert (await runner.status()).state == "absent"
