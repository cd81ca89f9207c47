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
