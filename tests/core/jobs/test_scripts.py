"""Job scripts on a real core, with this machine as its site."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from skyport_core.client import CoreError
from skyport_core.model import JobState, task_id
from tests.infra.desk import Desk, opened
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

RUNNING, FINISHED, FAILED = JobState.RUNNING, JobState.FINISHED, JobState.FAILED

SH = "#!/bin/sh\n"
SLURMISH = """\
#!/bin/sh
echo "$SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_MAX for $WHO: $1"
srun -n 2 sh -c 'echo rank $SLURM_PROCID'
[ "$(pwd -P)" = "$SLURM_SUBMIT_DIR" ] && [ "$0" = "$SWM_JOB_SCRIPT" ] && echo at home
cp "$SKYPORT_JOB_DIR/nodes" nodes.txt
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def core_of_all() -> AsyncIterator[Desk]:
    """One core for all tests here."""
    async with opened("c.SkyPortCore.stop_grace = 0.5\nc.LocalGate.cpus = 64") as desk:
        yield desk


@pytest_asyncio.fixture(loop_scope="module")
async def desk(core_of_all: Desk) -> AsyncIterator[Desk]:
    """The core, without a job that a test before left running."""
    yield core_of_all
    await core_of_all.core.cancel_all()


async def test_slurm_script_of_an_array_runs_as_on_slurm(desk: Desk) -> None:
    first = await desk.submit(
        script=SLURMISH, arguments=["go"], array="3-5:2", variables={"WHO": "ann"},
        stdout="out/%4a.txt", outputs=["out", "nodes.txt"],
    )  # fmt: skip
    for job_id, index in ((first, 3), (task_id(first, 5), 5)):
        job = await desk.end(job_id)
        assert job.state is FINISHED, job.failure
        files = desk.core.home / "jobs" / job_id / "files"
        lines = (files / f"out/000{index}.txt").read_text().splitlines()
        assert lines[0] == f"{index} of 5 for ann: go"
        assert sorted(lines[1:3]) == ["rank 0", "rank 1"]
        assert lines[3:] == ["at home"]
        assert await desk.log(job_id) == "\n".join([*lines, ""])
        assert (files / "nodes.txt").read_text() == "localhost 127.0.0.1\n"
    assert left_on_node(desk) == []


def left_on_node(desk: Desk) -> list[Path]:
    """Folders of jobs on this machine's site."""
    return list(desk.core.home.glob("gates/local/homes/*/.skyport/jobs/*"))


async def test_what_was_not_kept_is_told_and_files_of_streams_are(desk: Desk) -> None:
    job_id = await desk.submit(
        script=f"{SH}echo one; echo two >&2; mkdir d; touch d/b a; touch kept\n",
        outputs=["kept", "none-*", "d/none"],
        stdout="o[u]t-%j.txt",
        stderr="err",
    )
    assert (await desk.end(job_id)).state is FINISHED
    files = desk.core.home / "jobs" / job_id / "files"
    assert {path.name: path.read_text() for path in files.iterdir()} == {
        f"o[u]t-{job_id}.txt": "one\n",
        "err": "two\n",
        "kept": "",
    }
    told = {event.reason: event.message for event in await desk.events(job_id)}
    assert told["outputs_missing"].endswith("these outputs: 'none-*', 'd/none'")
    assert told["files_lost"] == "2 files in the script's own folder went with it: 'a', 'd/b'"


async def test_script_that_names_all_it_writes_is_told_nothing(desk: Desk) -> None:
    job_id = await desk.submit(script=f"{SH}touch a b\n", outputs=["*"])
    assert (await desk.end(job_id)).state is FINISHED
    told = {event.reason for event in await desk.events(job_id)}
    assert not told & {"outputs_missing", "files_lost", "output_left"}


async def test_streams_of_a_script_are_kept_apart(desk: Desk) -> None:
    job_id = await desk.submit(script=f"{SH}echo plain; echo apart >&2\n")
    assert (await desk.end(job_id)).state is FINISHED
    assert await desk.log(job_id) == "plain\n"
    assert await desk.log(job_id, "stderr") == "apart\n"


@pytest.mark.parametrize(
    ("fields", "reason", "named"),
    [
        ({"script": "#!/no/such/shell\n"}, "interpreter_missing", "'/no/such/shell'"),
        ({"script": SH, "stdin": "in.%u"}, "stdin_missing", "'in.ann'"),
        ({"script": SH, "stdout": "/dev"}, "output_refused", "'/dev'"),
        ({"script": SH, "workdir": "/proc/none"}, "workdir_unusable", "/proc/none"),
        ({"script": f"{SH}no-such-program\n"}, "exit", "exit status 127"),
    ],
)
async def test_script_that_cannot_start_fails_in_words(
    desk: Desk, fields: dict[str, str], reason: str, named: str
) -> None:
    job = await desk.end(await desk.submit(**fields))
    assert job.state is FAILED and job.failure is not None
    assert job.failure.reason == reason
    assert named in job.failure.message


async def test_file_in_the_place_of_the_jobs_own_is_refused(desk: Desk) -> None:
    files = [{"path": "bin/srun", "content": ""}]
    with pytest.raises(CoreError, match="'bin/srun'"):
        await desk.submit(script=SH, files=files)


# -- batch jobs with a port -------------------------------------------------------------------

PORT = {"kind": "batch", "port": 8765, "environment_templates": {"ADDRESS": "{address}"}}
SERVE = 'exec python3 -m http.server --bind "$ADDRESS" 8765'


async def test_batch_job_runs_once_its_port_answers(desk: Desk) -> None:
    job_id = await desk.submit(
        "sh", "-c", f"until [ -e go ]; do sleep 0.05; done; {SERVE}", workdir="gate", **PORT
    )
    await desk.reach(job_id, JobState.STARTING)
    home = next(desk.core.home.glob("gates/local/homes/*"))
    go = home / "gate/go"
    await eventually(go.parent.is_dir, "working directory")
    go.touch()
    job = await desk.reach(job_id, RUNNING)
    assert job.address is not None
    _, writer = await asyncio.open_connection(job.address.host, job.address.port)
    writer.close()


async def test_batch_job_whose_port_stays_silent_runs_anyway(desk: Desk) -> None:
    job_id = await desk.submit("sleep", "600", start_timeout=1, **PORT)
    await desk.reach(job_id, RUNNING, timeout=10)


async def test_batch_job_that_ends_before_its_port_answers_has_ended(desk: Desk) -> None:
    job = await desk.end(await desk.submit("true", **PORT))
    assert (job.state, job.exit_code) == (FINISHED, 0)
