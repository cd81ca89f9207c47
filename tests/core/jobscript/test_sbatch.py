"""The ``#SBATCH`` options."""

from __future__ import annotations

from typing import Any

import pytest

from skyport_core.model import Eviction

from .scripts import completed, refusal

ID = "6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a01"


@pytest.mark.parametrize(
    ("options", "field", "value"),
    [
        ("--job-name=x", "name", "x"),
        ("--job-name x", "name", "x"),
        ("--job-n x", "name", "x"),
        ("-J x", "name", "x"),
        ("-Jx", "name", "x"),
        ("-HJx", "name", "x"),
        ("--job-name='two words' # why", "name", "two words"),
        ("--job-name=a#b", "name", "a#b"),
        ('--comment="#1 \\"quoted\\""', "comment", '#1 "quoted"'),
        ("--account=physics", "account", "physics"),
        ("--output=out-%A_%a", "stdout", "out-%A_%a"),
        ("-e err-%j", "stderr", "err-%j"),
        ("--input=in", "stdin", "in"),
        ("--chdir=/data", "workdir", "/data"),
        ("--time=30", "walltime", 1800),
        ("--time=30:10", "walltime", 1810),
        ("-t 1-2", "walltime", 93600),
        ("-t1-2:30", "walltime", 95400),
        ("--time=1:0:0", "walltime", 3600),
        ("--time=UNLIMITED", "walltime", None),
        ("--mem=4G", "memory", 4096),
        ("--mem=500", "memory", 500),
        ("--mem-per-cpu=1G -c 4", "memory", 4096),
        ("--mem-per-gpu=8G --gpus-per-node=2", "memory", 16384),
        ("-c 4", "cpus", 4),
        ("-n 8 -c 2", "cpus", 16),
        ("-n 8 -N 2 -c 2", "cpus", 8),
        ("--ntasks-per-node=4 -N 3", "cpus", 4),
        ("--ntasks-per-node=4 -n 10", "nodes", 3),
        ("--cpus-per-gpu=3 --gpus=2", "cpus", 6),
        ("--nodes=2-4", "nodes", 2),
        ("--gpus=2", "gpus", 2),
        ("--gpus=4 --nodes=2", "gpus", 2),
        ("--gpus=a100:1", "labels", {"gpu": "a100"}),
        ("--gpus-per-node=2", "gpus", 2),
        ("--gpus-per-task=1 -n 3", "gpus", 3),
        ("--gres=gpu", "gpus", 1),
        ("--gres=gpu:2", "gpus", 2),
        ("--gres=gpu:a100:2", "gpus", 2),
        ("--gres=gpu:a100", "labels", {"gpu": "a100"}),
        ("--partition=lab", "site", "lab"),
        ("--partition=debug", "site", None),
        ("--array=1,3,5%1", "array", "1,3,5%1"),
        ("--export=ALL,A=1,B='x y'", "variables", {"A": "1", "B": "x y"}),
        ("--export=NONE", "variables", {}),
        ("--constraint='disk=ssd&arch=arm64'", "labels", {"disk": "ssd", "arch": "arm64"}),
        ("--hold", "hold", True),
        ("--requeue", "on_eviction", Eviction.REQUEUE),
        ("--no-requeue", "on_eviction", Eviction.FAIL),
        ("--tmp=20G", "storage", 20),
        (f"-d afternotok:{ID}", "dependencies", ({"job": ID, "when": "afternotok"},)),
        ("--mail-type=END --mail-user a@b --nice -q normal", "name", ""),
    ],
)
def test_an_option_fills_in_its_field(options: str, field: str, value: Any) -> None:
    assert completed(f"#SBATCH {options}").model_dump()[field] == value


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--job-nme=x", "there is no option '--job-nme'; did you mean --job-name?"),
        ("--mem-p 1", "may be --mem-per-cpu, --mem-per-gpu"),
        ("-Z", "there is no option -Z"),
        ("x", "'x' is no option"),
        ("--time", "#SBATCH --time: needs a value"),
        ("-t", "#SBATCH --time: needs a value"),
        ("--hold=yes", "takes none"),
        ("--comment='x", "no closing quotation"),
        ("--time=soon", "must be M, M:S"),
        ("--mem=0", "all memory of a node"),
        ("--mem=x", "must be a size"),
        ("--ntasks=0", "must be 1 or more"),
        ("--nodes=0", "must be 1 or more"),
        ("--gpus=3 --nodes=2", "each of 2 nodes"),
        ("--gres=license:1", "must be gpu[:TYPE][:COUNT]"),
        ("--output=%t", "'%t' has a pattern other than"),
        ("--constraint=haswell", "must be LABEL=VALUE"),
        ("--export=PATH", "'PATH' cannot be taken"),
        ("--export=A=x,y", "'y' cannot be taken"),
        ("--dependency=afterok:17", "UUIDs"),
        ("--dependency=singleton", "UUIDs"),
        ("--exclusive", "#SBATCH --exclusive: cannot be had here"),
        ("--nodelist=n1", "nodes have other names here"),
        ("--signal=USR1@60", "no signal"),
        ("--begin=now+1hour", "--hold"),
        ("--open-mode=append", "files are written anew"),
        ("hetjob", "'hetjob' is no option"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_option(options: str, says: str) -> None:
    message = refusal(f"#SBATCH {options}")

    assert says in message
    assert message.startswith("line 2: #SBATCH")


@pytest.mark.parametrize(
    ("options", "tasks", "per_task", "per_node"),
    [
        ("--ntasks=2 --nodes=1", "2", "1", None),
        ("-n 8 -N 2 -c 2", "8", "2", None),
        ("--ntasks-per-node=4 -N 3", "12", "1", "4"),
        ("-c 4", "1", "4", None),
        ("-n 2 --export=SLURM_NTASKS=5", "5", "1", None),
    ],
)
def test_job_is_told_its_tasks(
    options: str, tasks: str, per_task: str, per_node: str | None
) -> None:
    told = completed(f"#SBATCH {options}").variables
    assert (told["SLURM_NTASKS"], told["SLURM_CPUS_PER_TASK"]) == (tasks, per_task)
    assert told.get("SLURM_NTASKS_PER_NODE") == per_node


def test_options_count_only_before_the_first_command() -> None:
    request = completed("#SBATCH -Jx", "", "# more", "#SBATCH -c2", "true", "#SBATCH --nonsense")

    assert (request.name, request.cpus) == ("x", 2)


def test_options_count_only_at_the_beginning_of_a_line() -> None:
    assert completed(" #SBATCH -Jx", "#SBATCHx -Jx").name == ""


def test_standard_error_goes_with_standard_output_unless_it_has_a_file() -> None:
    assert completed("#SBATCH -o out").merge_output is True
    assert completed("#SBATCH -o out", "#SBATCH -e err").merge_output is None
    assert completed("#SBATCH -o out", "#SWM stderr err").merge_output is None
    assert completed("#SBATCH -o out", stderr="err").merge_output is None


def test_swm_holds_where_both_dialects_speak() -> None:
    request = completed(
        "#SWM name swm",
        "#SBATCH -J slurm --mem 2 --export=A=slurm,B=slurm -p lab",
        "#SWM env A=swm",
        "#SWM site cloud",
    )

    assert (request.name, request.memory, request.site) == ("swm", 2, "cloud")
    assert request.variables == {"A": "swm", "B": "slurm"}
