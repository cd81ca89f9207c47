"""What the container engines are asked for; they are stand-ins that tell and run on the node."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.runner import Runner, RunnerStatus, RunSpec
from skyport_core.ssh.runspec import Container

from .conftest import StartNode
from .waiting import until_state

NO_OPTION = 'the name of an image does not begin with "-"'
PROGRAMS = (
    "cat", "chmod", "cut", "date", "env", "grep", "id", "ln", "mkdir", "mv", "ps", "rm", "setsid",
    "sh", "sleep", "tail", "tee", "tr", "uname",
)  # fmt: skip
ENGINE = """\
#!/bin/sh
printf '%s\\n' "$@" >>{told}
echo . >>{told}
case $1 in
version) exit ;;
image) exit 1 ;;
pull)
    [ "$2" != broken ] || {{ echo no such image >&2; exit 1; }}
    [ "$2" != --force ] || : >"$3"
    ;;
run | exec)
    while [ "$1" != box ] && [ "$1" != "${{1%.sif}}.sif" ]; do shift; done
    shift
    exec "$@"
    ;;
esac
"""


@pytest.fixture
def on_node(
    pool: ConnectionPool, start_node: StartNode, tmp_path: Path
) -> Callable[..., tuple[Runner, Path]]:
    """A node with one engine only; the runner of a job there, and what the engine was told."""

    def make(engine: str) -> tuple[Runner, Path]:
        tools, told = tmp_path / "tools", tmp_path / "told"
        tools.mkdir()
        for program in PROGRAMS:
            (tools / program).symlink_to(shutil.which(program) or program)
        if engine:
            (tools / engine).write_text(ENGINE.format(told=told))
            (tools / engine).chmod(0o755)
        home = tmp_path / "home"
        node = start_node(f"SetEnv HOME={home} PATH={tools}", home=home)
        runner = Runner(pool.get("lab", node.node(), node.username), "boxed")
        return runner, told

    return make


async def finish(runner: Runner, text: str, image: str = "box", **box: object) -> RunnerStatus:
    await runner.stage(
        RunSpec(
            ("sh", "-c", text, "-", "a b"),
            {"SECRET": "very-secret-82", "PATH": "/usr/bin:/bin"},
            container=Container(image, **box),  # type: ignore[arg-type]
        )
    )
    await runner.start()
    return await until_state(runner, "exited")


async def test_docker_gets_names_not_secrets_and_passes_the_status_on(
    on_node: Callable[..., tuple[Runner, Path]], tmp_path: Path
) -> None:
    runner, told = on_node("docker")
    mounts = (str(tmp_path), "/no/such/folder")
    status = await finish(runner, 'echo "$SECRET $1"; exit 5', gpus=True, mounts=mounts)
    assert status.exit_code == 5
    assert await runner.log() == b"Sky Port: pulling box with docker\nvery-secret-82 a b\n"
    calls = told.read_text().split("\n.\n")
    assert "very-secret-82" not in told.read_text() and "/no/such/folder" not in told.read_text()
    run = next(call.split("\n") for call in calls if call.startswith("run\n"))
    for words in (
        ["--name", "skyport-boxed"], ["--network", "host"], ["--gpus", "all"], ["--init"],
        ["--env", "SECRET"], ["--env", "PATH=/usr/bin:/bin"],
        ["--volume", f"{tmp_path}:{tmp_path}"],
    ):  # fmt: skip
        assert any(run[place : place + len(words)] == words for place in range(len(run))), words
    assert calls[-2].split("\n") == ["rm", "--force", "skyport-boxed"]


async def test_apptainer_makes_the_image_a_file_and_shows_gpus(
    on_node: Callable[..., tuple[Runner, Path]],
) -> None:
    runner, told = on_node("apptainer")
    status = await finish(runner, 'echo "$SECRET $1"', "org/box:1", gpus=True)
    assert (status.exit_code, status.trouble) == (0, None)
    assert (await runner.log()).endswith(b"very-secret-82 a b\n")
    pull, run = [call.split("\n") for call in told.read_text().split("\n.\n")[:2]]
    assert pull[:2] == ["pull", "--force"] and pull[3] == "docker://org/box:1"
    assert run[0] == "exec" and "--nv" in run and pull[2] in run
    assert "very-secret-82" not in told.read_text()


@pytest.mark.parametrize(
    ("engine", "wanted", "image", "trouble"),
    [
        ("", "auto", "box", ("engine", "auto")),
        ("docker", "podman", "box", ("engine", "podman")),
        ("docker", "auto", "broken", ("image", "no such image")),
        ("docker", "auto", "--privileged", ("image", NO_OPTION)),
    ],
)  # fmt: skip
async def test_what_keeps_a_container_from_starting_is_told(
    on_node: Callable[..., tuple[Runner, Path]],
    engine: str,
    wanted: str,
    image: str,
    trouble: tuple[str, str],
) -> None:
    runner, _ = on_node(engine)
    status = await finish(runner, "echo ran", image, engine=wanted)
    assert status.trouble == trouble
    assert b"ran\n" not in await runner.log()
