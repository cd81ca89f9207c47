"""A walltime that is changed while the job runs; the node alone sees to it."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import psutil
import pytest

from skyport_core.ssh.errors import CommandFailed
from skyport_core.ssh.program import PROGRAM
from skyport_core.ssh.runner import Runner, RunSpec
from tests.infra.sshd import SSHD

from .waiting import carrying, until, until_state

SLEEP = ("sleep", "3600")

OLDER = (
    PROGRAM.replace('    fill started "$(now)"\n', "")
    .replace("\nlimit)\n", "\nnever)\n")
    .replace('sh "$own/runner.sh" limit "$id" "$mask" "$left" &', "built_in &")
    .replace(
        "\nsupervise() {\n",
        """
built_in() {
    trap 'kill "$nap" 2>/dev/null; exit 0' TERM
    sleep "$walltime" &
    nap=$!
    wait "$nap"
    : >"$own/timed_out"
    terminate "$grace"
}
supervise() {
""",
    )
)
"""A runner whose supervisor waits for the end of the time by itself."""


async def running(runner: Runner, walltime: int | None) -> None:
    await runner.stage(RunSpec(SLEEP, walltime=walltime))
    assert (await runner.start()).state == "running"


async def until_timers(runner: Runner, count: int) -> None:
    timer = f"{await runner.job_dir()}/.runner/runner.sh limit"
    await until(lambda: len(carrying(timer)) == count, f"{count} timers")


async def test_longer_walltime_replaces_the_first_even_if_the_core_is_gone(
    runner: Runner, node: SSHD
) -> None:
    began = time.monotonic()
    await running(runner, 1)
    await runner.set_walltime(2)
    node.kill()
    record = Path(node.home, ".skyport/jobs", runner.job_id, ".runner/exit")
    await until(record.exists, "the longer walltime passed")
    assert time.monotonic() - began > 1.9
    node.start()
    status = await until_state(runner, "exited")
    assert (status.timed_out, status.exit_code) == (True, 128 + signal.SIGTERM)


async def test_shorter_walltime_ends_the_job_sooner(runner: Runner) -> None:
    await running(runner, 3600)
    await runner.set_walltime(1)
    assert (await until_state(runner, "exited")).timed_out


async def test_job_without_a_limit_gets_one_and_loses_it_again(runner: Runner) -> None:
    await running(runner, None)
    await until_timers(runner, 0)
    await runner.set_walltime(3600)
    await until_timers(runner, 1)
    await runner.set_walltime(0)
    await until_timers(runner, 0)
    assert (await runner.status()).state == "running"


async def test_same_walltime_told_again_leaves_one_timer_and_none_at_the_end(
    runner: Runner,
) -> None:
    await running(runner, 3600)
    for _ in range(3):
        await runner.set_walltime(7200)
    await until_timers(runner, 1)
    await runner.stop(grace=1)
    await until_timers(runner, 0)


async def test_walltime_told_before_the_start_counts_from_the_start(runner: Runner) -> None:
    await runner.stage(RunSpec(SLEEP))
    assert (await runner.set_walltime(1)).state == "staged"
    await runner.start()
    assert (await until_state(runner, "exited")).timed_out


async def test_walltime_of_a_job_that_is_not_there_changes_nothing(runner: Runner) -> None:
    assert (await runner.set_walltime(5)).state == "absent"


async def test_walltime_that_nothing_on_the_node_can_keep_to_is_refused(runner: Runner) -> None:
    await running(runner, 3600)
    Path(await runner.job_dir(), ".runner/job.sh").unlink()
    with pytest.raises(CommandFailed, match=r"Cannot change the walltime of job .* is gone"):
        await runner.set_walltime(7200)


async def test_timer_that_was_killed_is_replaced(runner: Runner) -> None:
    await running(runner, 3600)
    own = Path(await runner.job_dir(), ".runner")
    await until((own / "timer").exists, "a timer")
    timer = psutil.Process(int((own / "timer").read_text().split()[0]))
    for process in (*timer.children(), timer):
        process.kill()
    (own / "runner.sh").unlink()
    await runner.set_walltime(1)
    assert (await until_state(runner, "exited")).timed_out


async def test_job_of_an_older_runner_gets_another_walltime(runner: Runner) -> None:
    await runner.stage(RunSpec(SLEEP, walltime=2))
    own = Path(await runner.job_dir(), ".runner")
    (own / "runner.sh").write_text(OLDER)
    began = time.monotonic()
    await runner.start()
    await runner.set_walltime(3, age=0)
    assert (await until_state(runner, "exited")).timed_out
    assert time.monotonic() - began > 2.9


async def test_age_of_a_job_is_known_as_long_as_it_is_there(runner: Runner) -> None:
    assert (await runner.status()).age is None
    await runner.stage(RunSpec(("true",)))
    await runner.start()
    await until_state(runner, "exited")
    record = Path(await runner.job_dir(), ".runner/started")
    record.write_text(f"{int(time.time()) - 100}\n")
    assert (await runner.status()).age in range(100, 110)
    record.write_text("not a number\n")
    assert (await runner.status()).age is None
