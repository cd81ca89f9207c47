"""What is refused is said in the words of who typed it: file, line, option, value."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from skyport_core.client import CoreClient, CoreError, CoreUnavailable
from skyport_core.console.run import _verdict
from skyport_core.console.views import event_line
from skyport_core.model import Failure, JobState
from skyport_core.service import ServiceError
from skyport_core.wire import EventView, JobView
from tests.core.api.served import JOB, ServedCore, now

from .conftest import Skyport


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("line", ["#SWM array 0-3", "#SBATCH -a 0-3"])
async def test_run_takes_no_array_of_a_script(
    core: ServedCore, skyport: Skyport, here: Path, line: str
) -> None:
    (here / "p.sh").write_text(f"#!/bin/sh\n{line}\n")
    done = await skyport("run", "--id", JOB, "p.sh")
    assert (done.exit_code, "run follows one job; use submit" in done.stderr) == (2, True)
    assert await core.store.get_job(JOB) is None


async def test_a_missing_input_of_a_script_is_told_with_its_line(
    skyport: Skyport, here: Path
) -> None:
    (here / "p.sh").write_text("#!/bin/sh\n#SWM input-files nothing.csv\n")
    done = await skyport("submit", "p.sh")
    assert done.exit_code == 2
    assert "p.sh: line 2: #SWM input-files: There is no file nothing.csv" in done.stderr


async def test_what_the_core_refuses_of_a_script_names_its_file(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    (here / "p.sh").write_text("#!/bin/sh\n#SWM output-files ../x\n")
    message = "outputs.0 ('../x'): must be a path below"
    for command in ("submit", "run"):
        core.jobs.failure = ServiceError(message, code="invalid", status=422, field="outputs.0")
        done = await skyport(command, "p.sh")
        said = "Error: p.sh: line 2: #SWM output-files: '../x' must be a path below"
        assert (done.exit_code, said in done.stderr) == (1, True), done.stderr


async def test_what_the_core_refuses_of_an_option_is_wrong_usage(
    core: ServedCore, skyport: Skyport
) -> None:
    message = "outputs.0 ('../x'): must be a path below"
    core.jobs.failure = ServiceError(message, code="invalid", status=422, field="outputs.0")
    done = await skyport("submit", "--output", "../x", "true")
    assert done.exit_code == 2
    assert "Invalid value for '--output': '../x' must be a path below" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--id", "xyz"], "'--id': 'xyz' must be a UUID"),
        (["--cpus", "-1"], "'--cpus': -1.0 must be greater than 0"),
        (["--port", "99999"], "'--port': 99999 must be less than or equal to 65535"),
        (["--memory", "999999999T"], "MiB must be less than or equal to 2147483648 MiB"),
        (["--disk", "-1"], "'--disk': -1 GiB must be greater than 0 GiB"),
        (["--array", "5-1"], "'--array': '5-1' ends before it begins"),
    ],
)
async def test_a_wrong_option_is_named_with_its_value(
    skyport: Skyport, words: list[str], message: str
) -> None:
    done = await skyport("submit", *words, "true")
    assert (done.exit_code, message in done.stderr) == (2, True), done.stderr


async def test_a_bounded_number_is_called_a_number(skyport: Skyport) -> None:
    for words in (["flavors", "--min-cpus", "x"], ["jobs", "--limit", "x"]):
        done = await skyport(*words)
        assert (done.exit_code, "range" in done.stderr) == (2, False)


async def test_no_log_is_spoken_of_where_none_is_shown(core: ServedCore) -> None:
    job = await core.submit()
    failure = Failure("exit", "The job ended with exit status 3 on n1", "The log below shows why.")
    job = await core.store.update_job(job, state=JobState.FAILED, failure=failure, exit_code=3)
    verdict = _verdict(JobView.of(job))
    assert verdict.count("exit status 3") == 1
    event = EventView(
        seq=1, time=now(), state=job.state, progress=100, message="x", hint=failure.hint
    )
    assert "below" not in verdict + event_line(event)


async def test_a_cancelled_job_that_was_held_waits_for_nothing(
    core: ServedCore, skyport: Skyport
) -> None:
    job = await core.submit()
    job = await core.store.update_job(job, held=True, wait_reason="Held", position=2)
    job = await core.store.update_job(job, state=JobState.CANCELLED)
    assert (job.held, job.wait_reason, job.position) == (False, "", None)
    shown = (await skyport("show", JOB)).stdout
    assert "Held" not in shown and "Waits for" not in shown


async def test_a_list_of_certificates_fits_and_their_beginnings_name_them(
    core: ServedCore, skyport: Skyport, monkeypatch: pytest.MonkeyPatch, here: Path
) -> None:
    (here / "out").mkdir()
    assert (await skyport("cert", "issue", "out")).exit_code == 0
    async with CoreClient(core.socket) as client:
        [view] = (await client.certificates()).certificates
    monkeypatch.setenv("COLUMNS", "80")
    listed = (await skyport("cert", "list")).stdout.splitlines()
    assert all(row == row.rstrip() and len(row) <= 80 for row in listed)
    expires = view.expires_at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    assert listed[1].startswith(view.serial[:12]) and expires in listed[1]
    assert (await skyport("cert", "revoke", view.serial[:12])).exit_code == 0
    assert "revoked" in (await skyport("cert", "list")).stdout


async def test_get_brings_folders_that_a_wildcard_names(
    core: ServedCore, skyport: Skyport, here: Path
) -> None:
    await core.submit()
    outputs = core.socket.parent / "jobs" / JOB / "files"
    for name in ("r/a", "r/deep/b", "s/c"):
        (outputs / name).parent.mkdir(parents=True, exist_ok=True)
        (outputs / name).write_text(name)
    done = await skyport("get", JOB, "r/*")
    assert done.stdout.split() == ["r/a", "r/deep/b"]


@pytest.mark.parametrize(
    ("later", "status", "words"),
    [
        (CoreError(403, "certificate_refused", "Your certificate was revoked."), 1, "revoked"),
        (CoreUnavailable("core: nobody listens."), 255, "the connection broke"),
    ],
)
async def test_a_shell_that_breaks_says_why(
    core: ServedCore,
    skyport: Skyport,
    monkeypatch: pytest.MonkeyPatch,
    later: Exception,
    status: int,
    words: str,
) -> None:
    job = await core.submit()
    view = JobView.of(job)
    answers: list[Any] = [view]

    async def get_job(*arguments: Any, **options: Any) -> JobView:
        if answers:
            return answers.pop()
        raise later

    @contextlib.asynccontextmanager
    async def shell(*arguments: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(read=broken, write_eof=quiet, write=quiet, exit=None)

    async def quiet(*arguments: Any) -> None:
        return None

    async def broken() -> AsyncIterator[Any]:
        raise CoreUnavailable("core: the connection broke.")
        yield

    monkeypatch.setattr(CoreClient, "get_job", get_job)
    monkeypatch.setattr(CoreClient, "shell", shell)
    done = await skyport("ssh", JOB, "--", "cat")
    assert (done.exit_code, words in done.stderr) == (status, True), done.stderr
