"""What is refused before a job gets into the queue."""

from __future__ import annotations

from typing import Any, cast

import pytest

from skyport_core.jobs.admission import Admission
from skyport_core.settings import Settings
from skyport_core.store import Store
from skyport_core.wire import JobRequest


async def refusal(engine: str = "auto", **wish: Any) -> str | None:
    """The field that is named when a request is refused; None when it is not."""
    admission = Admission(cast(Store, None), Settings(container_engine=engine), {"lab"})
    try:
        await admission.check("ann", JobRequest(**wish), None)
    except Exception as error:
        assert getattr(error, "status", None) == 422, error
        return cast("str | None", error.field)  # type: ignore[attr-defined]
    return None


@pytest.mark.parametrize("name", ["script", "bin/tool", "work", "nodes"])
async def test_file_with_a_name_of_the_jobs_own_is_refused_beside_a_script(name: str) -> None:
    files = [{"path": "fine", "content": ""}, {"path": name, "content": ""}]
    assert await refusal(script="#!/bin/sh\n", files=files) == "files.1.path"
    assert await refusal(command=["true"], files=files) is None


@pytest.mark.parametrize("field", ["variables", "environment", "environment_templates"])
async def test_variable_of_the_cores_own_is_refused(field: str) -> None:
    wish: dict[str, Any] = {field: {"SKYPORT_JOB_ID": "x"}}
    assert await refusal(command=["true"], **wish) == f"{field}.SKYPORT_JOB_ID"


async def test_folder_that_a_container_cannot_be_shown_is_refused() -> None:
    wish: dict[str, Any] = {"command": ["true"], "container": "box", "workdir": "a:b"}
    assert await refusal(**wish) == "workdir"
    assert await refusal("none", **wish) is None
    assert await refusal(command=["true"], workdir="a:b") is None


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../x", "a/../../b", ""])
async def test_result_outside_the_working_directory_is_refused(pattern: str) -> None:
    assert await refusal(command=["true"], outputs=["fine/**", pattern]) == "outputs.1"
    assert await refusal(command=["true"], outputs=["fine/**", "..a/b.."]) is None


@pytest.mark.parametrize("image", ["two words", ":tag", "-v", "a::b", "a:b c", "sh;id", '"box"'])
async def test_image_that_no_engine_could_know_is_refused(image: str) -> None:
    assert await refusal(command=["true"], container=image) == "container"


@pytest.mark.parametrize(
    "image",
    [
        *("box", "ubuntu:24.04", "localhost:5000/a/b:1", "ghcr.io/Org/x@sha256:0a1b", "f00"),
        *("docker://ubuntu:24.04", "docker-archive:/tmp/a.tar", "/srv/My image.sif", "./box.sif"),
        "[::1]:5000/a:1",
    ],
)
async def test_image_that_may_be_one_is_taken(image: str) -> None:
    assert await refusal(command=["true"], container=image) is None


async def test_program_without_a_name_is_refused() -> None:
    assert await refusal(command=[" ", "x"]) == "command.0"


async def test_unknown_storage_is_named_by_its_place() -> None:
    assert await refusal(command=["true"], storages=["data"]) == "storages.0"
