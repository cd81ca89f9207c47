"""``skyport`` against the real API."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from skyport_core.console import main
from skyport_core.console.output import age, print_table, span
from skyport_core.model import Eviction, Failure, JobKind, JobSpec, JobState
from skyport_core.wire import FlavorQuery
from tests.core.api.served import JOB, OTHER, UNKNOWN, ServedCore, now

from .conftest import Skyport


async def fail(core: ServedCore) -> None:
    job = await core.store.get_job(JOB)
    assert job is not None
    failure = Failure("exit", "It ended with status 3.", "Look at its log.", "last words")
    await core.store.update_job(job, state=JobState.FAILED, failure=failure, exit_code=3)


async def test_health(skyport: Skyport) -> None:
    done = await skyport("health")
    assert done.exit_code == 0
    assert "ok" in done.stdout
    assert "2 RUNNING" in done.stdout


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sites", ["lab", "OnPremGate", "yes"]),
        ("flavors", ["big", "6/8", "8192/16384", "8 cores"]),
        ("nodes", ["lab/n1", "up", "6/8"]),
        ("images", ["cloud", "ubuntu", "Ubuntu 24.04"]),
        ("quotas", ["westeurope", "cores", "4/100"]),
    ],
)
async def test_tables_show_what_there_is(skyport: Skyport, command: str, words: list[str]) -> None:
    done = await skyport(command)
    assert done.exit_code == 0
    for word in words:
        assert word in done.stdout


@pytest.mark.parametrize(
    ("command", "name"),
    [
        *(("sites", "lab"), ("flavors", "big"), ("nodes", "n1")),
        *(("images", "ubuntu"), ("quotas", "cores")),
    ],
)
async def test_lists_as_json(skyport: Skyport, command: str, name: str) -> None:
    done = await skyport(command, "--json")
    assert [view["name"] for view in json.loads(done.stdout)] == [name]


async def test_jobs_lists_those_that_have_not_ended(core: ServedCore, skyport: Skyport) -> None:
    await core.submit(JOB, "alice")
    await core.submit(OTHER, "bob")
    await core.end(OTHER)
    done = await skyport("jobs")
    assert "alice" in done.stdout
    assert "bob" not in done.stdout
    assert "bob" in (await skyport("jobs", "--all")).stdout
    assert "bob" in (await skyport("jobs", "--state", "finished")).stdout
    assert "alice" not in (await skyport("jobs", "--all", "--owner", "bob")).stdout


async def test_jobs_says_that_there_are_none(skyport: Skyport) -> None:
    done = await skyport("jobs")
    assert (done.exit_code, done.stdout) == (0, "No such jobs.\n")


async def test_jobs_as_json_are_the_views_of_the_api(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    [view] = json.loads((await skyport("jobs", "--json")).stdout)
    assert (view["id"], view["state"]) == (JOB, "QUEUED")


async def test_tables_fit_the_terminal(
    core: ServedCore, skyport: Skyport, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await core.submit()
    await core.store.update_job(job, wait_reason="Waiting for 2 cpus at site lab " * 5)
    monkeypatch.setenv("COLUMNS", "80")
    lines = (await skyport("jobs")).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[:3] == [JOB[:8], "QUEUED", "alice"]
    assert (len(lines), lines[1].rstrip()[-1]) == (2, "…")


def test_a_narrow_table_leaves_out_what_says_nothing_and_keeps_numbers_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    columns = ("NAME", "WHERE", "LEADS TO", "MIB>", "COST>")
    print_table(columns, [("node-1", "", "far away " * 3, "123456/123456", None)], "none")
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["NAME", "LEADS", "TO", "MIB"]
    assert row.startswith("node-1  far away far")
    assert row.endswith("123456/123456")


def test_nothing_is_cut_off_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "NOTE"), [("a", "words " * 100)], "none")
    assert capsys.readouterr().out.count("words") == 100


async def test_show_tells_all_about_a_failure(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    await fail(core)
    done = await skyport("show", JOB)
    assert done.exit_code == 0
    for word in (JOB, "FAILED", "It ended with status 3.", "Look at its log.", "last words"):
        assert word in done.stdout


async def test_a_job_is_found_by_the_beginning_of_its_id(
    core: ServedCore, skyport: Skyport
) -> None:
    await core.submit()
    assert JOB in (await skyport("show", JOB[:6])).stdout


async def test_a_beginning_of_several_ids_is_a_usage_error(
    core: ServedCore, skyport: Skyport
) -> None:
    await core.submit(JOB)
    await core.submit(OTHER)
    done = await skyport("show", JOB[:8])
    assert done.exit_code == 2
    assert JOB in done.stderr
    assert OTHER in done.stderr


@pytest.mark.parametrize("job", [UNKNOWN, "abc"])
async def test_an_unknown_job_is_an_error_of_the_core(skyport: Skyport, job: str) -> None:
    done = await skyport("show", job)
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: There is no job")


async def test_what_cannot_be_an_id_is_a_usage_error(skyport: Skyport) -> None:
    assert (await skyport("show", "nap")).exit_code == 2


async def test_no_core_is_an_exit_status_of_its_own(tmp_path: Path) -> None:
    path = str(tmp_path / "core.sock")
    done = await asyncio.to_thread(CliRunner().invoke, main, ["--socket", path, "health"])
    assert done.exit_code == 3
    assert path in done.stderr
    assert "Is skyport-core running" in done.stderr


async def test_events_are_lines(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    await core.tell("two")
    done = await skyport("events", JOB)
    first, second = done.stdout.splitlines()
    assert "QUEUED     Waiting for a place" in first
    assert second.endswith("two")


async def test_events_as_json_are_one_object_a_line(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    await core.tell("two")
    lines = (await skyport("events", JOB, "--json")).stdout.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2]


async def test_events_follow_until_the_end(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    following = asyncio.create_task(skyport("events", "-f", JOB))
    await asyncio.sleep(0)
    await core.end()
    assert "Over" in (await asyncio.wait_for(following, 20)).stdout


async def test_logs_are_passed_on_as_they_are(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    core.jobs.logs = {"stdout": b"out \xff\n", "stderr": b"err\n"}
    assert (await skyport("logs", JOB)).stdout_bytes == b"out \xff\n"
    assert (await skyport("logs", "--stderr", JOB)).stdout_bytes == b"err\n"


async def test_logs_follow_until_the_end(core: ServedCore, skyport: Skyport) -> None:
    await core.store.update_job(await core.submit(), node="n1")
    core.jobs.logs["stdout"] = b"begin\n"
    read = asyncio.Event()
    log = core.jobs.log

    async def watched(*arguments: object) -> bytes:
        read.set()
        return await log(*arguments)  # type: ignore[arg-type]

    core.jobs.log = watched  # type: ignore[method-assign]
    following = asyncio.create_task(skyport("logs", "-f", JOB))
    await asyncio.wait_for(read.wait(), 10)
    core.jobs.logs["stdout"] += b"end\n"
    await core.end()
    assert (await asyncio.wait_for(following, 20)).stdout == "begin\nend\n"


async def test_cancel_asks_for_the_end(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    done = await skyport("cancel", JOB)
    assert done.exit_code == 0
    assert "is being cancelled" in done.stdout
    job = await core.store.get_job(JOB)
    assert job is not None
    assert job.target is JobState.CANCELLED


async def test_cancel_waits_for_the_end_when_asked(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    cancelling = asyncio.create_task(skyport("cancel", "--wait", JOB))
    with core.store.changes.subscribe(JOB) as changed:
        assert await changed.wait(10)
    assert not cancelling.done()
    await core.end(state=JobState.CANCELLED)
    done = await asyncio.wait_for(cancelling, 20)
    assert "is CANCELLED" in done.stdout


async def test_flavors_are_filtered_and_sorted(core: ServedCore, skyport: Skyport) -> None:
    words = "--region west --min-cpus 4 --gpus 1 --max-price 0.5 --spot --sort spot_price"
    done = await skyport("flavors", *words.split(), "--available", "--limit", "5")
    assert done.exit_code == 0
    assert core.sites.queries == [
        FlavorQuery(
            region="west",
            min_cpus=4,
            min_gpus=1,
            max_price=0.5,
            limit=5,
            spot=True,
            sort="spot_price",
            available=True,
        )
    ]


async def test_flavors_say_that_there_are_more(core: ServedCore, skyport: Skyport) -> None:
    core.sites.flavor_count = 30
    done = await skyport("flavors", "--limit", "20")
    assert done.stdout.count("big") == 20
    assert "--limit shows more" in done.stderr


async def test_quotas_of_another_region_are_left_out(skyport: Skyport) -> None:
    done = await skyport("quotas", "--region", "mars")
    assert done.stdout == "No site tells of limits.\n"


async def test_partitions_show_what_is_kept(core: ServedCore, skyport: Skyport) -> None:
    await core.keep()
    done = await skyport("partitions")
    for word in ("p1", "alice", "SUSPENDED", "westeurope zone 1 spot", "0.0517", "desk"):
        assert word in done.stdout
    [view] = json.loads((await skyport("partitions", "--json")).stdout)
    assert view["keep"] == "desk"


async def test_a_partition_is_deleted(core: ServedCore, skyport: Skyport) -> None:
    await core.keep()
    done = await skyport("delete-partition", "p1")
    assert (done.exit_code, done.stdout) == (0, "p1 at site cloud is being deleted\n")
    assert (await skyport("delete-partition", "p9")).exit_code == 1


async def test_submit_prints_the_id_of_the_new_job(core: ServedCore, skyport: Skyport) -> None:
    done = await skyport("submit", "--id", JOB, "--name", "nap", "--", "sleep", "--all", "60")
    assert (done.exit_code, done.stdout) == (0, f"{JOB}\n")
    job = await core.store.get_job(JOB)
    assert job is not None
    assert (job.spec.kind, job.spec.name) == (JobKind.BATCH, "nap")
    assert job.spec.command == ("sleep", "--all", "60")


async def test_submit_takes_all_wishes_about_the_node(core: ServedCore, skyport: Skyport) -> None:
    words = "--site azure --flavor D4 --region west --zone 1 --spot cheaper --max-price 0.5"
    words += " --image ubuntu --on-eviction move --keep desk --label disk=ssd --cpus 2"
    words += " --memory 4096 --gpus 1 --walltime 60 --output out.csv"
    done = await skyport("submit", "--id", JOB, *words.split(), "true")
    assert done.exit_code == 0
    job = await core.store.get_job(JOB)
    assert job is not None
    assert job.spec == JobSpec(
        kind=JobKind.BATCH,
        command=("true",),
        site="azure",
        flavor="D4",
        region="west",
        zone="1",
        spot=None,
        max_price=0.5,
        image="ubuntu",
        on_eviction=Eviction.MOVE,
        keep="desk",
        labels={"disk": "ssd"},
        cpus=2,
        memory=4096,
        gpus=1,
        walltime=60,
        outputs=("out.csv",),
    )


async def test_submit_passes_an_environment_on(
    core: ServedCore, skyport: Skyport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    await skyport("submit", "--id", JOB, "--env", "A=1=2", "--env", "TOKEN", "true")
    secrets = await core.store.secrets(JOB)
    assert secrets.environment == {"A": "1=2", "TOKEN": "secret"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--label", "ssd", "true"], "NAME=VALUE"),
        (["--env", "SURELY_NOT_SET", "true"], "SURELY_NOT_SET is not set here"),
        (["--cpus", "0", "true"], "cpus"),
        (["--keep", "my desk", "true"], "keep"),
        (["--spot", "maybe", "true"], "never"),
        (["--array", "many", "true"], "'--array': 'many' must be indices such as 0-9"),
        (["--var", "A-B=1", "true"], "'--var': A-B: must be names of letters"),
        (["."], "is a folder, and no script"),
        ([], "COMMAND"),
    ],
)
async def test_submit_explains_what_is_wrong(
    skyport: Skyport, words: list[str], message: str
) -> None:
    done = await skyport("submit", *words)
    assert done.exit_code == 2
    assert message in done.stderr
    assert "should" not in done.stderr


@pytest.mark.parametrize(
    "words",
    [["rename", JOB, "x" * 256], ["flavors", "--max-price", "nan"], ["jobs", "--owner", ""]],
    ids=" ".join,
)
async def test_no_model_shows_its_own_words(
    core: ServedCore, skyport: Skyport, words: list[str]
) -> None:
    await core.submit()
    done = await skyport(*words)
    assert done.exit_code == 2, done.output
    assert "must" in done.stderr
    assert "should" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [(["get", JOB], "QUEUED: its outputs come home"), (["get", JOB, "x"], "QUEUED: its outputs")],
)
async def test_results_of_a_job_that_waits_are_not_there_yet(
    core: ServedCore, skyport: Skyport, words: list[str], message: str
) -> None:
    await core.submit()
    done = await skyport(*words)
    assert (done.exit_code, message in done.stderr) == (1, True)


async def test_a_job_that_has_ended_has_no_ports(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    await core.end()
    done = await skyport("forward", JOB, "8888")
    assert (done.exit_code, "has no ports any more" in done.stderr) == (1, True)


async def test_extend_tells_how_long_the_job_may_run(core: ServedCore, skyport: Skyport) -> None:
    await core.submit()
    assert "may run for 02:00:00" in (await skyport("extend", JOB, "2h")).stdout
    assert "02:00:00" in (await skyport("show", JOB)).stdout


@pytest.mark.parametrize(("state", "status"), [(JobState.FINISHED, 0), (JobState.FAILED, 4)])
async def test_submit_follows_to_the_end_when_asked(
    core: ServedCore, skyport: Skyport, state: JobState, status: int
) -> None:
    with core.store.changes.subscribe(JOB) as changed:
        following = asyncio.create_task(skyport("submit", "-f", "--id", JOB, "true"))
        assert await changed.wait(10)
    await core.end(state=state)
    done = await asyncio.wait_for(following, 20)
    assert (done.exit_code, done.stdout) == (status, f"{JOB}\n")
    assert "Over" in done.stderr


async def test_drain_and_resume(core: ServedCore, skyport: Skyport) -> None:
    done = await skyport("drain", "lab/n1", "--reason", "disk swap")
    assert done.stdout == "lab/n1 is drained: disk swap; 0 jobs on it\n"
    assert json.loads((await skyport("resume", "lab/n1", "--json")).stdout)["state"] == "up"


async def test_drain_of_an_unknown_node(skyport: Skyport) -> None:
    done = await skyport("drain", "lab/n9")
    assert (done.exit_code, done.stderr) == (1, "Error: There is no node n9 at site lab.\n")


@pytest.mark.parametrize("node", ["n1", "/n1", "lab/"])
async def test_a_node_needs_its_site(skyport: Skyport, node: str) -> None:
    done = await skyport("drain", node)
    assert done.exit_code == 2
    assert "SITE/NODE" in done.stderr


async def test_names_and_messages_cannot_steer_the_terminal(
    core: ServedCore, skyport: Skyport
) -> None:
    await core.submit()
    await core.tell("\x1b[2Jgone [bold]not bold[/bold]\a")
    job = await core.store.get_job(JOB)
    assert job is not None
    await core.store.update_job(job, wait_reason="[red]\x1b]0;title\a")
    for command in (["events", JOB], ["jobs"], ["show", JOB]):
        done = await skyport(*command)
        assert not {"\x1b", "\a"} & set(done.stdout)
    assert "[red]" in done.stdout


def commands(group: click.Group) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from ((name, *rest) for rest in commands(command))
        else:
            yield (name,)


@pytest.mark.parametrize("command", sorted(commands(main)), ids=" ".join)
def test_every_command_has_help_and_json(command: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, [*command, "--help"])
    assert done.exit_code == 0
    assert "--json" in done.stdout
    assert "Usage: main " + " ".join(command) in done.stdout


def test_help_tells_exit_status_and_completion() -> None:
    done = CliRunner().invoke(main, ["--help"])
    assert "3 core not reachable" in done.stdout
    assert "_SKYPORT_COMPLETE=bash_source" in done.stdout


def test_a_wrong_option_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["jobs", "--colour"]).exit_code == 2


def test_the_module_is_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "skyport_core.console", "jobs"]
    environment = {"SKYPORT_HOME": str(tmp_path), "LANG": "C.UTF-8"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 3
    assert str(tmp_path / "core.sock") in done.stderr


def test_ages_use_the_largest_unit_that_fits() -> None:
    assert [span(seconds) for seconds in (0, 119, 120, 7200, 172800)] == [
        "0s",
        "119s",
        "2m",
        "2h",
        "2d",
    ]
    assert age(now()) == "0s"
