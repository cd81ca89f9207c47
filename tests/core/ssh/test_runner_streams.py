"""Where a job reads and writes on its node."""

from __future__ import annotations

from pathlib import Path

import pytest

from skyport_core.ssh.runner import Runner, RunnerStatus, RunSpec
from tests.infra.sshd import SSHD

from .waiting import until_logged, until_state


def script(text: str, **options: object) -> RunSpec:
    return RunSpec(("sh", "-c", text), workdir="work", **options)  # type: ignore[arg-type]


async def finish(runner: Runner, spec: RunSpec) -> RunnerStatus:
    await runner.stage(spec)
    await runner.start()
    return await until_state(runner, "exited")


async def test_output_goes_to_its_file_which_is_emptied_first_and_to_the_log(
    runner: Runner, node: SSHD
) -> None:
    out = node.home / "work" / "out" / "run.txt"
    out.parent.mkdir(parents=True)
    out.write_text("of an earlier run")
    await finish(runner, script("echo out; echo err >&2", stdout="out/run.txt"))
    assert out.read_text() == "out\nerr\n"
    assert await runner.log() == b"out\nerr\n"


async def test_streams_kept_apart_have_a_file_each(runner: Runner, node: SSHD) -> None:
    spec = script("echo out; echo err >&2", stdout="o", stderr="new/e", merge_output=False)
    await finish(runner, spec)
    assert (node.home / "work/o").read_text() == "out\n"
    assert (node.home / "work/new/e").read_text() == "err\n"
    assert await runner.log("stderr") == b"err\n"
    assert await runner.tail() == "err"


async def test_log_grows_while_the_job_writes_and_outlives_its_file(
    runner: Runner, node: SSHD
) -> None:
    await runner.stage(script("echo one; rm out; echo two; sleep 3600", stdout="out"))
    await runner.start()
    await until_logged(runner, b"two")
    assert await runner.log() == b"one\ntwo\n"
    assert not (node.home / "work/out").exists()


async def test_file_outlives_the_folder_of_the_job(runner: Runner, node: SSHD) -> None:
    await finish(runner, script("echo kept", stdout="out"))
    await runner.remove()
    assert (node.home / "work/out").read_text() == "kept\n"


async def test_file_that_is_a_link_is_followed(runner: Runner, node: SSHD, tmp_path: Path) -> None:
    (node.home / "work").mkdir()
    (node.home / "work/out").symlink_to(tmp_path / "target")
    await finish(runner, script("echo there", stdout="out"))
    assert (tmp_path / "target").read_text() == "there\n"
    assert await runner.log() == b"there\n"


async def test_log_named_as_the_file_stays_the_log(runner: Runner) -> None:
    path = f"../.skyport/jobs/{runner.job_id}/stdout.log"
    await finish(runner, script("echo out", stdout=path))
    assert await runner.log() == b"out\n"


async def test_what_is_thrown_away_is_not_in_the_log(runner: Runner) -> None:
    status = await finish(runner, script("echo out", stdout="/dev/null"))
    assert (status.exit_code, await runner.log()) == (0, b"")


async def test_input_comes_from_its_file(runner: Runner, node: SSHD) -> None:
    (node.home / "work").mkdir()
    (node.home / "work/in").write_text("a line\n")
    await finish(runner, script("read -r line; echo got $line", stdin="in"))
    assert await runner.log() == b"got a line\n"


@pytest.mark.parametrize(
    ("options", "trouble"),
    [
        ({"stdin": "no such file"}, ("stdin", "no such file")),
        ({"stdout": "taken/out"}, ("stdout", "taken/out")),
        ({"stderr": ".", "merge_output": False}, ("stderr", ".")),
        ({"interpreter": "/no/such/sh"}, ("interpreter", "/no/such/sh")),
    ],
)
async def test_what_keeps_a_job_from_starting_is_told(
    runner: Runner, node: SSHD, options: dict[str, object], trouble: tuple[str, str]
) -> None:
    (node.home / "work").mkdir()
    (node.home / "work/taken").write_text("a file, not a folder")
    status = await finish(runner, script("echo ran", **options))
    assert status.trouble == trouble
    assert b"ran" not in await runner.log()


async def test_working_directory_that_cannot_be_made_is_told(runner: Runner, node: SSHD) -> None:
    (node.home / "work").write_text("a file, not a folder")
    assert (await finish(runner, script("echo ran"))).trouble == ("workdir", "work")


async def test_programs_of_the_job_are_found_before_or_after_those_of_the_node(
    runner: Runner,
) -> None:
    program = b'#!/bin/sh\necho "${0##*/} of ${0%/*}" | sed "s|of .*/|of |"\n'
    names = ("first/true", "last/false", "last/mine")
    folder = await runner.job_dir()
    spec = script(
        "env true; env false; mine",
        files=tuple((name, 0o755, program) for name in names),
        path_first=(f"{folder}/first",),
        path_last=(f"{folder}/last",),
    )
    await finish(runner, spec)
    assert await runner.log() == b"true of first\nmine of last\n"
