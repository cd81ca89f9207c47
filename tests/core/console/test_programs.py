"""Scripts, commands, and the files that they need, on the command line."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from skyport_core.client import CoreClient, CoreError, CoreUnavailable, FileTrouble
from skyport_core.console import main
from skyport_core.console.files import _inside, _target
from skyport_core.console.inputs import local_files
from skyport_core.console.values import size, time
from skyport_core.model import Condition, Dependency, Failure, JobState
from skyport_core.wire import JobRequest
from tests.core.api.served import JOB, OTHER, ServedCore

from .conftest import Skyport

SCRIPT = "#!/bin/sh\n#SWM cpus 3\n#SWM walltime 60\n#SWM input-files {}\ncat $1\n"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


async def submitted(core: ServedCore) -> JobRequest:
    job = await core.store.get_job(JOB)
    assert job is not None
    return job.spec  # type: ignore[return-value]


async def test_a_script_is_submitted_with_its_arguments(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    (here / "job.sh").write_text("#!/bin/sh\n#SWM cpus 3\n#SWM walltime 60\ntrue\n")
    done = await skyport("submit", "--id", JOB, "--cpus", "2", "job.sh", "a", "--all")
    assert done.stdout == f"{JOB}\n"
    spec = await submitted(core)
    assert (spec.command, spec.arguments) == ((), ("a", "--all"))
    assert (spec.cpus, spec.walltime, spec.name) == (2, 60, "job.sh")
    assert "#SWM cpus 3" in (await skyport("show", "--script", JOB)).stdout


async def test_after_two_dashes_stands_a_program_of_the_node(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    (here / "job.sh").write_text("#!/bin/sh\n")
    assert (await skyport("submit", "--id", JOB, "--", "./job.sh")).exit_code == 0
    assert (await submitted(core)).command == ("./job.sh",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no file job.sh"),
        ("true\n", "does not begin with #!"),
        ("#!/bin/sh\n#SWM cpus many\n", "job.sh: line 2: #SWM cpus"),
    ],
)
async def test_a_script_that_cannot_be_run_is_told(
    skyport: Skyport, here: Path, text: str | None, message: str
) -> None:
    if text is not None:
        (here / "job.sh").write_text(text)
    done = await skyport("submit", "job.sh")
    assert done.exit_code == 2
    assert message in done.stderr


async def test_inputs_of_script_and_options_are_uploaded(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    (here / "job.sh").write_text(SCRIPT.format("data/a.csv"))
    (here / "data" / "deep").mkdir(parents=True)
    (here / "data" / "a.csv").write_text("a")
    (here / "data" / "deep" / "b.csv").write_text("bb")
    done = await skyport("submit", "--id", JOB, "--input", "data/deep", "job.sh")
    assert done.exit_code == 0, done.stderr
    listed = json.loads((await skyport("files", JOB, "--json")).stdout)
    assert {each["path"]: each["size"] for each in listed["files"]} == {
        "a.csv": 1,
        "deep/b.csv": 2,
    }
    assert listed["missing"] == []


async def test_an_input_that_cannot_be_uploaded_cancels_the_job(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    (here / "big").write_bytes(bytes(2**21))
    done = await skyport("submit", "--id", JOB, "--input", "big", "--", "true")
    assert done.exit_code == 1
    assert "is cancelled: its inputs did not all arrive" in done.stderr
    job = await core.store.get_job(JOB)
    assert job is not None
    assert job.target is JobState.CANCELLED


async def test_a_core_that_is_away_meanwhile_is_told_with_the_job_that_still_waits(
    core: ServedCore, skyport: Skyport, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*arguments: object, **options: object) -> None:
        raise CoreUnavailable("The core cannot be reached: nobody listens.")

    monkeypatch.setattr(CoreClient, "delete_job", away)
    (here / "big").write_bytes(bytes(2**21))
    done = await skyport("submit", "--id", JOB, "--input", "big", "--", "true")
    assert done.exit_code == 1
    first, *_, last = done.stderr.splitlines()
    assert f"Job {JOB} still waits for its inputs" in first
    assert "could not be cancelled: The core cannot be reached" in first
    assert f"skyport cancel {JOB}" in done.stderr
    assert last.startswith("Error: ") and "MiB" in last


async def test_a_missing_input_is_told_before_anything_is_done(
    core: ServedCore, skyport: Skyport
) -> None:
    done = await skyport("submit", "--id", JOB, "--input", "nothing*", "--", "true")
    assert (done.exit_code, "no file nothing*" in done.stderr) == (2, True)
    assert await core.store.get_job(JOB) is None


def test_local_files_keep_their_place_below_a_folder(here: Path) -> None:
    for name in ("a.txt", "b.txt", "in/c.txt", "in/deep/d.txt"):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    assert set(local_files(["*.txt"])) == {"a.txt", "b.txt"}
    assert set(local_files(["in"])) == {"in/c.txt", "in/deep/d.txt"}
    assert set(local_files(["in/"])) == {"c.txt", "deep/d.txt"}
    (here / "in" / "a.txt").write_text("")
    with pytest.raises(click.UsageError, match=r"would both be a\.txt"):
        local_files(["a.txt", "in/a.txt"])


async def test_dependencies_hold_and_array_are_passed_on(
    core: ServedCore, skyport: Skyport
) -> None:
    await core.submit(OTHER, "root")
    words = ["--dependency", f"afterany:{OTHER}", "--dependency", OTHER, "--hold"]
    await skyport("submit", "--id", JOB, *words, "--", "true")
    spec = await submitted(core)
    assert spec.hold
    assert spec.dependencies == (
        Dependency(job=OTHER, when=Condition.AFTER_ANY),
        Dependency(job=OTHER, when=Condition.AFTER_OK),
    )


async def test_offers_take_the_options_of_submit(skyport: Skyport) -> None:
    done = await skyport("offers", "--cpus", "2", "--memory", "4G")
    assert done.stdout.startswith("The job would start at once\n")
    assert "lab" in done.stdout
    assert json.loads((await skyport("offers", "--json", "--", "true")).stdout)["total"] == 1


async def test_run_shows_the_log_and_returns_the_exit_status(
    core: ServedCore, skyport: Skyport
) -> None:
    core.jobs.logs = {"stdout": b"out\n", "stderr": b"err\n"}
    with core.store.changes.subscribe(JOB) as changed:
        run = asyncio.create_task(skyport("run", "--id", JOB, "--", "true"))
        assert await changed.wait(10)
    job = await core.store.get_job(JOB)
    assert job is not None
    await core.store.update_job(job, state=JobState.FINISHED, node="n1", exit_code=7)
    done = await asyncio.wait_for(run, 20)
    assert (done.exit_code, done.stdout, done.stderr) == (7, "out\n", "err\n")


async def test_run_of_a_job_that_failed_is_no_success_whatever_its_program_returned(
    core: ServedCore, skyport: Skyport
) -> None:
    with core.store.changes.subscribe(JOB) as changed:
        run = asyncio.create_task(skyport("run", "--id", JOB, "--", "true"))
        assert await changed.wait(10)
    job = await core.store.get_job(JOB)
    assert job is not None
    failure = Failure("output_missing", "A result is missing.")
    await core.store.update_job(job, state=JobState.FAILED, failure=failure, exit_code=0)
    done = await asyncio.wait_for(run, 20)
    assert done.exit_code == 4
    assert "is FAILED" in done.stderr
    assert "exit status 0: A result is missing." in done.stderr


async def test_run_brings_the_results_home(core: ServedCore, skyport: Skyport, here: Path) -> None:
    with core.store.changes.subscribe(JOB) as changed:
        run = asyncio.create_task(skyport("run", "--id", JOB, "--get", "home", "--", "true"))
        assert await changed.wait(10)
    output = core.socket.parent / "jobs" / JOB / "files" / "deep" / "result"
    output.parent.mkdir(parents=True)
    output.write_text("done")
    await core.end()
    assert (await asyncio.wait_for(run, 20)).exit_code == 0
    assert (here / "home" / "deep" / "result").read_text() == "done"


async def test_get_chooses_and_replaces_only_when_told(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    await core.submit()
    outputs = core.socket.parent / "jobs" / JOB / "files"
    for name in ("a.csv", "b.txt", "deep/c.csv"):
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(name)
    done = await skyport("get", JOB, "*.csv", "--to", "home")
    assert done.stdout.split() == ["home/a.csv", "home/deep/c.csv"]
    assert (here / "home" / "a.csv").read_text() == "a.csv"
    again = await skyport("get", JOB, "a.csv", "--to", "home")
    assert (again.exit_code, "--force" in again.stderr) == (1, True)
    assert (await skyport("get", JOB, "a.csv", "--to", "home", "--force")).exit_code == 0
    assert (await skyport("get", JOB, "nothing")).exit_code == 1


@pytest.mark.parametrize(
    "name", ["../x", "/etc/x", "a/../../x", "", ".", "a//x", "a\0x", "out/x", "out/deep/x"]
)
def test_no_name_leads_out_of_the_folder(here: Path, tmp_path: Path, name: str) -> None:
    (here / "out").symlink_to(tmp_path)
    with pytest.raises(CoreError, match="The core offers a file called"):
        _inside(Path(), name)


def test_a_link_in_the_place_of_a_result_is_not_followed(here: Path) -> None:
    (here / "gone").symlink_to("elsewhere")
    with pytest.raises(FileTrouble, match="--force replaces it"):
        _target(Path(), "gone", force=False)
    assert _target(Path(), "gone", force=True) == Path("gone")


async def test_put_finds_the_input_by_its_name(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    request = JobRequest(command=("true",), inputs=("in/data.csv",))
    await core.store.put_job(JOB, "root", request, (await core.submit(OTHER)).created_at)
    (here / "data.csv").write_text("x")
    assert (await skyport("put", JOB, "data.csv")).exit_code == 0
    assert json.loads((await skyport("files", JOB, "--json")).stdout)["missing"] == []
    (here / "other").write_text("x")
    done = await skyport("put", JOB, "other")
    assert (done.exit_code, "inputs: in/data.csv" in done.stderr) == (1, True)


async def test_jobs_are_held_released_extended_requeued_and_deleted(
    core: ServedCore, skyport: Skyport
) -> None:
    await core.submit()
    answers: dict[str, Any] = {}
    for words in (["hold", JOB], ["release", JOB], ["extend", JOB, "2h"], ["requeue", JOB]):
        answers[words[0]] = await skyport(*words)
    assert {name: done.exit_code for name, done in answers.items()} == dict.fromkeys(answers, 0)
    job = await core.store.get_job(JOB)
    assert job is not None
    assert job.spec.walltime == 7200
    assert (await skyport("delete", JOB)).exit_code == 1
    await core.end()
    assert (await skyport("delete", JOB)).exit_code == 0
    assert await core.store.get_job(JOB) is None


async def test_tunnels_usage_and_certificates_are_listed(skyport: Skyport) -> None:
    assert "127.96.0.1:80" in (await skyport("tunnels")).stdout
    assert "Nothing was used" in (await skyport("usage", "--by", "day")).stdout
    assert "No certificates" in (await skyport("cert", "list")).stdout


async def test_a_certificate_is_issued_for_a_key_that_stays_here(
    skyport: Skyport, here: Path
) -> None:
    done = await skyport("cert", "issue", "mine", "--name", "alice")
    assert done.exit_code == 0, done.stderr
    assert {path.name for path in (here / "mine").iterdir()} == {"key.pem", "cert.pem", "ca.pem"}
    words = ["--cert", "mine/cert.pem", "--key", "mine/key.pem", "--ca", "mine/ca.pem"]
    assert (await skyport("context", "add", "lab", "--https", "core.lab", *words)).exit_code == 0
    shown = CliRunner().invoke(main, ["--context", "lab", "cert", "show", "--json"])
    assert json.loads(shown.stdout)["valid"] is True


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("15m", 900),
        ("90min", 5400),
        ("1.5h", 5400),
        ("1d", 86400),
        ("1w", 604800),
        ("45:00", 2700),
        ("1-12", 129600),
        ("1-02:03:04", 93784),
    ],
)
def test_times_are_those_of_scripts(text: str, seconds: int) -> None:
    assert time(text) == seconds


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("512", 512),
        ("512M", 512),
        ("512K", 1),
        ("4g", 4096),
        ("1.5G", 1536),
        ("1TiB", 2**20),
        ("1P", 2**30),
    ],
)
def test_sizes_are_those_of_scripts(text: str, mib: int) -> None:
    assert size(text) == mib


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--walltime", "soon"], "'soon' must be seconds, 90m, 2h"),
        (["--memory", "much"], "'much' must be a size: MiB, or with a unit such as 512M"),
    ],
)
async def test_a_wrong_time_or_size_is_told_with_what_is_allowed(
    skyport: Skyport, words: list[str], message: str
) -> None:
    done = await skyport("submit", *words, "--", "true")
    assert done.exit_code == 2
    assert message in " ".join(done.stderr.split())


async def test_the_tab_key_offers_jobs_sites_flavors_and_contexts(
    core: ServedCore, config: Path
) -> None:
    await core.submit()

    def offered(*words: str) -> list[str]:
        shell = ShellComplete(main, {}, "skyport", "_SKYPORT_COMPLETE")
        *before, last = words
        socket = ["--socket", str(core.socket)]
        return [item.value for item in shell.get_completions([*socket, *before], last)]

    assert await asyncio.to_thread(offered, "show", "6d1") == [JOB]
    assert await asyncio.to_thread(offered, "jobs", "--site", "") == ["lab"]
    assert await asyncio.to_thread(offered, "submit", "--flavor", "b") == ["big"]
    assert await asyncio.to_thread(offered, "context", "use", "") == []


def test_the_tab_key_is_silent_without_a_core(tmp_path: Path) -> None:
    shell = ShellComplete(main, {}, "skyport", "_SKYPORT_COMPLETE")
    assert shell.get_completions(["--socket", str(tmp_path / "no"), "show"], "") == []
