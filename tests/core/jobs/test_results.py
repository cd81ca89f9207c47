"""What an eviction saved, on its way to the next machine; results that cannot come home."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from cryptography.fernet import Fernet

from skyport_core.jobs.attachment import Attachment
from skyport_core.jobs.context import JobContext
from skyport_core.jobs.results import SLOWEST, restore, restore_time
from skyport_core.model import Eviction, Job, JobState, PartitionRecord
from skyport_core.partitions.steps import WOKEN
from skyport_core.store import Store
from skyport_core.wire import JobRequest
from tests.core.partitions.site import SITE, at_the_site
from tests.infra.desk import OpenDesk

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)


@dataclass
class Restorer:
    """The one thing of a runner that is needed: it remembers what was brought."""

    brought: list[Path] = field(default_factory=list)

    async def restore(self, source: Path, *, workdir: str) -> None:
        self.brought.append(source)


@dataclass
class Mover:
    """A job on its second machine, with what its first one saved."""

    store: Store
    context: JobContext
    job: Job

    async def brought(self) -> list[Path]:
        runner = Restorer()
        attachment = cast(Attachment, SimpleNamespace(runner=runner))
        await restore(self.job, self.context, attachment)
        return runner.brought


@pytest.fixture
async def mover(tmp_path: Path) -> AsyncIterator[Mover]:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    saved = tmp_path / "files/big"
    saved.parent.mkdir()
    with saved.open("wb") as file:
        file.truncate(100 * SLOWEST)
    context = cast(JobContext, SimpleNamespace(store=store, outputs=lambda job: tmp_path))
    job_id = str(uuid.uuid4())
    request = JobRequest(command=("true",), on_eviction=Eviction.MOVE)
    job, _ = await store.put_job(job_id, "ann", request, NOW)
    await store.put_partition(
        PartitionRecord("p1", "cloud", job_id, "ann", "small", NOW, NOW, keep="box")
    )
    job = await store.update_job(job, state=JobState.STAGING, partition="p1", attempt=1)
    yield Mover(store, context, job)
    await store.close()


async def test_saved_files_get_the_time_that_they_need(mover: Mover, tmp_path: Path) -> None:
    assert await restore_time(mover.job, mover.context) == 100
    assert await mover.brought() == [tmp_path / "files"]


async def test_woken_machine_keeps_its_own_files(mover: Mover) -> None:
    record = await mover.store.get_partition("p1")
    assert record is not None
    await mover.store.update_partition(record, reason=WOKEN)
    assert await mover.brought() == []
    assert await restore_time(mover.job, mover.context) == 0


@pytest.mark.parametrize("config", [SITE, "c.SkyPortCore.stop_grace = 0.5"], ids=["made", "fixed"])
async def test_results_too_large_are_told_and_the_log_is_home(
    open_desk: OpenDesk, config: str
) -> None:
    desk = await open_desk(config + "\nc.SkyPortCore.max_output = 10")

    job_id = await desk.submit("sh", "-c", "echo 12345678901 | tee large", outputs=["large"])
    job = await desk.end(job_id)
    assert job.state is JobState.FAILED and job.failure is not None
    assert job.failure.reason == "outputs_too_large"
    assert await desk.log(job_id) == "12345678901\n"
    assert at_the_site(desk) == []


async def test_huge_log_comes_home_without_its_middle(open_desk: OpenDesk) -> None:
    desk = await open_desk("c.SkyPortCore.max_log = 2**10")
    job_id = await desk.submit(
        "sh", "-c", "echo first; truncate -s 1T out; echo last", stdout="out"
    )
    job = await desk.end(job_id)
    assert job.state is JobState.FINISHED
    log = await desk.log(job_id)
    assert log.startswith("first\n") and "last\n" in log and len(log) < 2**11
    assert log.splitlines()[-1].startswith("[This log is not whole: of 109951162778")
    assert [each.reason for each in await desk.events(job_id)].count("log_truncated") == 1
