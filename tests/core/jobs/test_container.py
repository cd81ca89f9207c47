"""Jobs in container images: a real podman on a real node, for a login without rights."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.infra.containers import IMAGE, give_podman, podman
from tests.infra.core import CoreProcess
from tests.infra.desk import Desk
from tests.infra.lab import lab_config
from tests.infra.nodes import Fabric, Node
from tests.infra.wait import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

USER = "alice"
PAUSE = "catatonit -P"
FINISHED, FAILED, CANCELLED = JobState.FINISHED, JobState.FAILED, JobState.CANCELLED


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric() as fabric:
        yield fabric


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def desk(fabric: Fabric) -> AsyncIterator[Desk]:
    """A core with one node that runs containers."""
    node = fabric.add_node("boxes")
    give_podman(node, USER)
    core = CoreProcess(lab_config([node], cpus=64), fabric=fabric)
    node.trust(core.user_ca)
    async with core:
        client = core.client()
        yield Desk(core, client)
        await client.close()


@pytest.fixture(scope="module")
def node(fabric: Fabric, desk: Desk) -> Node:
    return fabric.nodes["boxes"]


async def submit(desk: Desk, *command: str, **fields: object) -> str:
    return await desk.submit(*command, **{"owner": USER, "container": IMAGE, **fields})


async def logged(desk: Desk, job_id: str, text: str) -> None:
    async def there() -> bool:
        return text in await desk.log(job_id)

    await eventually(there, f"{text!r} in the log")


def assert_nothing_left(node: Node) -> None:
    assert podman(node, USER, "ps", "--all", "--quiet") == ""
    assert [line for line in node.user_processes(USER) if PAUSE not in line] == []


async def test_job_in_an_image_has_its_surroundings(desk: Desk, node: Node) -> None:
    text = 'id -u; pwd; echo "$SECRET"; echo "$PATH"; echo made >here; ls /bin/busybox; exit 7'
    job_id = await submit(
        desk, "sh", "-c", text,
        workdir="deep/er", outputs=["here"], environment={"SECRET": "two\nlines"},
    )  # fmt: skip
    job = await desk.end(job_id)
    uid = node.run(["id", "-u", USER]).stdout
    lines = f"{uid}/home/{USER}/deep/er\ntwo\nlines\n"
    said = await desk.log(job_id)
    assert said.startswith(lines) and said.endswith("/bin/busybox\n")
    assert job.exit_code == 7
    assert (desk.core.home / "jobs" / job_id / "files/here").read_text() == "made\n"
    assert_nothing_left(node)
    # The namespace of all containers of the login does not end with this one.
    assert any(PAUSE in line for line in node.user_processes(USER))


async def test_script_runs_in_an_image(desk: Desk) -> None:
    script = "#!/bin/sh\necho \"$0 $1 in $(pwd)\"; srun -n 2 sh -c 'echo $SLURM_PROCID'\n"
    job_id = await submit(desk, script=script, arguments=["one"])
    job = await desk.end(job_id)
    folder = f"/home/{USER}/.skyport/jobs/{job_id}"
    said = (await desk.log(job_id)).splitlines()
    assert job.state is FINISHED, job
    assert said[0] == f"{folder}/script one in {folder}/work"
    assert sorted(said[1:]) == ["0", "1"]


async def test_cancelled_job_leaves_no_container(desk: Desk, node: Node) -> None:
    job_id = await submit(desk, "sh", "-c", "trap '' TERM; echo up; while :; do sleep 1; done")
    await logged(desk, job_id, "up")
    await desk.client.delete_job(job_id)
    assert (await desk.end(job_id)).state is CANCELLED
    assert_nothing_left(node)


async def test_walltime_ends_what_is_in_the_container(desk: Desk, node: Node) -> None:
    job_id = await submit(desk, "sh", "-c", "echo up; sleep 3600", walltime=2)
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "walltime"
    assert await desk.log(job_id) == "up\n"
    assert_nothing_left(node)


async def test_image_that_cannot_be_had_is_told(desk: Desk) -> None:
    job_id = await submit(desk, "true", container="Not/A/Name:1")
    job = await desk.end(job_id)
    assert job.failure is not None and job.failure.reason == "image_pull"
    assert "Not/A/Name:1" in job.failure.message
    assert "must be lowercase" in job.failure.message
