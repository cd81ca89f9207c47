"""What stands in for srun, in every shell."""

from __future__ import annotations

import os
import subprocess
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
    done = srun(shell, "-n3", "--cpus-per-task", "2", "--mpi=pmix", "sh", "-c", text, "-", "a b")
    assert sorted(done.stdout.splitlines()) == ["0 0 3 a b", "1 1 3 a b", "2 2 3 a b"]


def test_number_of_copies_is_that_of_the_job(shell: str) -> None:
    assert srun(shell, "echo", "x", SLURM_NTASKS="2").stdout == "x\nx\n"


def test_one_copy_reads_what_is_typed(shell: str) -> None:
    assert srun(shell, "--unbuffered", "-K", "cat").stdout == "typed\n"


def test_worst_status_is_the_end(shell: str) -> None:
    assert srun(shell, "--ntasks", "3", "sh", "-c", "exit $SLURM_PROCID").returncode == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["-N", "2", "true"], "SKYPORT_NODES"),
        (["--multi-prog", "conf"], "--multi-prog is not understood"),
        (["-n", "many", "true"], "not 'many'"),
        (["-n"], "takes a number"),
        (["-n", "2"], "no command"),
    ],
)
def test_what_it_cannot_do_is_said(words: list[str], said: str) -> None:
    done = srun("dash", *words)
    assert done.returncode == 1 and said in done.stderr
