"""What jobs and scripts are told by their environment."""

from __future__ import annotations

import dataclasses
import datetime as dt
import re
import uuid
from pathlib import Path
from typing import Any

import skyport_core
from skyport_core.jobs.environment import Place, job_environment, workdir_of
from skyport_core.jobs.script import interpreter_of, script_command
from skyport_core.model import Job, JobKind, JobSpec, Resources
from skyport_core.wire import JobSecrets

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
JOB_ID = str(uuid.UUID(int=1))
PLACE = Place("/h/j", "/h/j/work", (("n1", "10.0.0.1"), ("n2", "10.0.0.2")))


def a_job(**spec: Any) -> Job:
    fields = {"kind": JobKind.BATCH, "name": "sim", **spec}
    held = Resources(4, 2048, 2)
    job = Job(JOB_ID, "ann", JobSpec(**fields), 1, NOW, NOW, node="n1", site="lab", reserved=held)
    return dataclasses.replace(job, scripted=not fields.get("command"))


def told(job: Job, place: Place = PLACE, **secrets: Any) -> dict[str, str]:
    return job_environment(job, JobSecrets(**secrets), place)


def test_every_job_is_told_where_it_is_and_what_it_has() -> None:
    environment = told(a_job(command=("true",)))
    assert environment == {
        "SKYPORT_JOB_ID": JOB_ID,
        "SKYPORT_JOB_NAME": "sim",
        "SKYPORT_JOB_DIR": "/h/j",
        "SKYPORT_NODES": "n1 n2",
        "SKYPORT_NODE_ADDRESSES": "10.0.0.1 10.0.0.2",
        "SKYPORT_CPUS": "4",
        "SKYPORT_MEMORY": "2048",
        "SKYPORT_GPUS": "2",
        "SKYPORT_SITE": "lab",
    }


def test_script_finds_the_words_of_slurm_and_of_the_original() -> None:
    environment = told(a_job(stdout="out"))
    assert environment["SLURM_JOB_ID"] == environment["SWM_JOBID"] == JOB_ID
    assert environment["SLURM_JOB_NODELIST"] == "n1,n2"
    assert environment["SLURM_JOB_NUM_NODES"] == "2"
    assert environment["SLURM_SUBMIT_DIR"] == environment["SWM_WORK_DIR"] == "/h/j/work"
    assert environment["SWM_STDOUT_PATH"] == "/h/j/work/out"
    assert environment["SWM_STDERR_PATH"] == "/h/j/stderr.log"
    assert environment["SWM_STDIN_PATH"] == "/dev/null"
    assert (environment["SLURM_NTASKS"], environment["SLURM_CPUS_PER_TASK"]) == ("1", "4")
    assert environment["SLURM_JOB_PARTITION"] == "lab"
    assert environment["SLURM_TASKS_PER_NODE"] == "1,0"
    assert environment["SLURM_JOB_CPUS_PER_NODE"] == "4(x2)"


def test_values_that_were_given_win_over_those_words_but_not_over_the_cores() -> None:
    job = a_job(variables={"SLURM_NTASKS": "4", "A": "1", "SKYPORT_SITE": "mine"})
    environment = told(job, environment={"A": "2"}, environment_templates={"B": "{job_dir} {x}"})
    assert (environment["SLURM_NTASKS"], environment["SLURM_CPUS_PER_TASK"]) == ("4", "2")
    assert (environment["A"], environment["B"]) == ("2", "/h/j {x}")
    assert environment["SKYPORT_SITE"] == "lab"


def test_inside_a_real_slurm_its_own_words_stay() -> None:
    environment = told(a_job(), dataclasses.replace(PLACE, slurm=True))
    assert [name for name in environment if name.startswith("SLURM")] == []
    assert environment["SWM_JOB_ID"] == JOB_ID


def test_job_of_an_array_knows_its_index() -> None:
    job = dataclasses.replace(a_job(array="1-9:4"), array_id="the-array", array_index=5)
    environment = told(job)
    assert (environment["SKYPORT_ARRAY_ID"], environment["SKYPORT_ARRAY_INDEX"]) == (
        "the-array",
        "5",
    )
    names = ("JOB_ID", "TASK_ID", "TASK_COUNT", "TASK_MIN", "TASK_MAX")
    values = [environment[f"SLURM_ARRAY_{name}"] for name in names]
    assert values == ["the-array", "5", "3", "1", "9"]


def test_command_in_an_array_knows_its_index_by_slurms_name_too() -> None:
    job = dataclasses.replace(a_job(command=("true",)), array_id="a", array_index=5)
    assert {name for name in told(job) if name.startswith("SLURM_")} == {
        "SLURM_ARRAY_JOB_ID",
        "SLURM_ARRAY_TASK_ID",
    }


def test_manual_names_exactly_the_variables_that_there_are() -> None:
    job = a_job(array="0-1", account="team", storages=("data",), flavor="big")
    place = dataclasses.replace(PLACE, storages={"data": "/data"})
    names = set(told(dataclasses.replace(job, array_id="a", array_index=0), place))
    manual = (Path(skyport_core.__file__).parents[1] / "docs/job-environment.md").read_text()
    rows = [line.split("|")[1] for line in manual.splitlines() if line.startswith("| `")]
    listed = set(re.findall(r"`((?:SKYPORT|SLURM|SLURMD|SWM)_[A-Z_]+(?:<NAME>)?)`", "".join(rows)))
    assert {name.replace("<NAME>", "DATA") for name in listed} == names


def test_storages_are_found_by_name_and_the_first_without() -> None:
    place = dataclasses.replace(PLACE, storages={"big-data": "/big", "home.2": "/home2"})
    environment = told(a_job(storages=("big-data", "home.2")), place)
    assert environment["SKYPORT_STORAGE"] == environment["SKYPORT_STORAGE_BIG_DATA"] == "/big"
    assert environment["SKYPORT_STORAGE_HOME_2"] == "/home2"


def test_script_works_in_a_folder_of_its_own_unless_it_names_one() -> None:
    assert workdir_of(a_job()) == f".skyport/jobs/{JOB_ID}/work"
    assert workdir_of(a_job(workdir="there")) == "there"
    assert workdir_of(a_job(command=("true",))) == ""


def test_script_is_run_by_what_its_first_line_names() -> None:
    assert script_command("#!/bin/bash -l\nx", "/j/script") == ("/j/script",)
    assert script_command("#SWM name x\nx", "/j/script") == ("sh", "/j/script")
    assert interpreter_of("#! /bin/bash -l\nx") == "/bin/bash"
    assert interpreter_of("#!/usr/bin/env python3\nx") == "python3"
    assert interpreter_of("#!/usr/bin/env -S python3 -u\nx") == "/usr/bin/env"
    assert interpreter_of("echo\n") == interpreter_of("#!\n") == ""


def test_no_job_can_be_given_a_name_of_the_cores_own() -> None:
    given = {"SKYPORT_GPUS": "9", "SKYPORT_STORAGE": "/etc"}
    environment = told(a_job(command=("true",), variables=given), environment=given)
    assert environment["SKYPORT_GPUS"] == "2" and "SKYPORT_STORAGE" not in environment


def test_number_of_tasks_that_is_none_counts_as_one() -> None:
    for text in ("9" * 5000, "\u0663", "-1", "0"):
        assert told(a_job(variables={"SLURM_NTASKS": text}))["SLURM_CPUS_PER_TASK"] == "4"
