"""Jobs that start over after their end."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from cryptography.fernet import Fernet

from skyport_core.jobs.restarting import back, begin_anew, restart
from skyport_core.model import Job, JobSpec, JobState
from skyport_core.outputs import output_folder
from skyport_core.store import Conflict, Store
from tests.core.store.samples import put

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)


async def test_results_go_once_it_is_sure_that_the_job_starts_over(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    woken: list[str] = []
    context: Any = SimpleNamespace(
        store=store, outputs=lambda job_id: output_folder(tmp_path, job_id)
    )
    reconciler: Any = SimpleNamespace(wake=woken.append)
    try:
        job = await store.update_job(await put(store, NOW), state=JobState.FINISHED)
        result = output_folder(tmp_path, job.id) / "files" / "result"
        result.parent.mkdir(parents=True)
        result.write_text("42")
        changed = await store.update_job(job, now=NOW)
        with pytest.raises(Conflict):
            await restart(job, context, reconciler)
        assert result.read_text() == "42"
        revived: Job = await restart(changed, context, reconciler)
        # The core may be killed here: the row says what is still to be done.
        assert (woken, revived.requeue) == ([job.id], True)
        step = await begin_anew(revived, context)
        assert step.changes == {"requeue": False}
        assert not result.exists()
    finally:
        await store.close()


async def test_job_that_is_back_in_the_queue_shows_no_address_of_before(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(
        attachments=Mock(close=AsyncMock()), outputs=lambda job_id: tmp_path / job_id
    )
    job = Job("j1", "ann", JobSpec(command=("true",)), 1, NOW, NOW, state=JobState.COLLECTING)
    step = await back(dataclasses.replace(job, listen=("127.96.0.1", 8888)), context)
    assert (step.changes["state"], step.changes["listen"]) == (JobState.QUEUED, None)
