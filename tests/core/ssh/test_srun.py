"""What stands in for srun, in every shell."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import skyport_core.ssh.program

SRUN = Path(skyport_core.ssh.program.__file__).with_name("srun.sh")


@pytest.fixture(params=["dash", "bash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def srun(shell: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [*shell.split(), str(SRUN), *words]
    env = {**os.environ, **variables}
    return subprocess.run(command, env=env, capture_output=True, text=True, input="typed\n")


def test_copies_are_numbered(shell: str) -> None:
    text = 'echo "$SLURM_PROCID $SLURM_LOCALID $SLURM_NTASKS $1"'
    done = srun(shell, "-n3", "--cpus-per-task", "2", "--mpi=none", "sh", "-c", text, "-", "a b")
    assert sorted(done.stdout.splitlines()) == ["0 0 3 a b", "1 1 3 a b", "2 2 3 a b"]


def test_number_of_copies_is_that_of_the_job(shell: str) -> None:
    assert srun(shell, "echo", "x", SLURM_NTASKS="2").stdout == "x\nx\n"


def test_one_copy_reads_what_is_typed(shell: str) -> None:
    assert srun(shell, "--unbuffered", "-K", "cat").stdout == "typed\n"


def test_worst_status_is_the_end(shell: str) -> None:
    assert srun(shell, "--ntasks", "3", "sh", "-c", "exit $SLURM_PROCID").returncode == 2


def test_each_of_several_copies_reads_all_that_is_typed(shell: str) -> None:
    assert srun(shell, "-n3", "cat").stdout == "typed\n" * 3
    assert srun(shell, "-n3", "--input=none", "cat").stdout == ""


def test_only_what_is_exported_is_there(shell: str) -> None:
    words = ("--export=KEPT,NEW=1 2", "env")
    done = srun(shell, *words, KEPT="0", LOST="0", SLURM_JOB_ID="7", SKYPORT_JOB_ID="8")
    names = {line.partition("=")[0] for line in done.stdout.splitlines()}
    assert names >= {"KEPT", "NEW", "SLURM_JOB_ID", "SKYPORT_JOB_ID"}
    assert "NEW=1 2" in done.stdout.splitlines()
    assert not names & {"LOST", "HOME", "PATH"}


def test_lines_are_labelled_on_both_streams_and_the_status_stays(shell: str) -> None:
    text = 'echo out; echo err >&2; exit "$SLURM_PROCID"'
    done = srun(shell, "-ln2", "sh", "-c", text)
    assert (sorted(done.stdout.split("\n")), sorted(done.stderr.split("\n"))) == (
        ["", "0: out", "1: out"],
        ["", "0: err", "1: err"],
    )
    assert done.returncode == 1


def test_each_copy_writes_its_own_files(shell: str, tmp_path: Path) -> None:
    text = "echo out; echo err >&2"
    words = (
        "--ntasks-per-node=2",
        "-D",
        str(tmp_path),
        "-o",
        "%j-%t",
        "-e",
        "err",
        "sh",
        "-c",
        text,
    )
    done = srun(shell, *words, SLURM_JOB_ID="7")
    assert (done.stdout, done.stderr) == ("", "")
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert written == {"7-0": "out\n", "7-1": "out\n", "err": "err\nerr\n"}


@pytest.mark.parametrize("label", [[], ["-l"]], ids=["plain", "labelled"])
def test_signal_reaches_every_copy_and_the_highest_status_is_the_end(
    shell: str, label: list[str]
) -> None:
    text = (
        'trap "echo bye; exit $((SLURM_PROCID + 6))" TERM; echo ready; while :; do sleep 0.05; done'
    )
    command = [*shell.split(), str(SRUN), *label, "-n2", "sh", "-c", text]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        assert running.stdout is not None
        lines = [running.stdout.readline() for _ in range(2)]
        running.terminate()
        try:
            lines += running.communicate(timeout=10)[0].splitlines()
        finally:
            with suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
        assert running.returncode == 7
    said = sorted(line.split()[-1] for line in lines)
    assert said == ["bye", "bye", "ready", "ready"]


def test_one_copy_is_labelled_too(shell: str) -> None:
    done = srun(shell, "-l", "sh", "-c", "cat; exit 3")
    assert (done.stdout, done.returncode) == ("0: typed\n", 3)


def test_time_limit_ends_a_copy(shell: str) -> None:
    assert srun(shell, "-t", "0:1", "sleep", "60").returncode == 124


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-N", "2", "true"], "SKYPORT_NODES"),
        (["--multi-prog", "conf"], "--multi-prog is not understood"),
        (["-n", "many", "true"], "not 'many'"),
        (["-n"], "takes a number"),
        (["-n2", "--mpi=pmix", "true"], "--mpi=pmix does not work here for more than one task"),
        (["-n2", "-K", "true"], "-K does not work here for more than one task"),
        (["-n4", "--ntasks-per-node=2", "true"], "needs more than one node"),
        (["-t", "soon", "true"], "not 'soon'"),
        (["-t", "9" * 30, "true"], "not '99999"),
        (["--ntasks", "9" * 30, "true"], "from 1 to 999999"),
        (["-o", "%q", "true"], "%q in the file name"),
        (["-n", "2"], "no command"),
    ],
)
def test_what_it_cannot_do_is_said(words: list[str], said: str) -> None:
    done = srun("dash", *words)
    assert done.returncode == 1 and said in done.stderr
