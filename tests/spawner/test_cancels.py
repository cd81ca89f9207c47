"""Cancelling for certain: noted, retried, taken up again."""

from __future__ import annotations

import asyncio
import logging
import uuid
from pathlib import Path

import pytest

from skyport_core.client import CoreClient, CoreError
from skyport_core.model import JobKind
from skyport_core.wire import JobRequest
from skyport_spawner.cancels import Cancels
from tests.infra.core import CoreProcess
from tests.infra.wait import eventually
from tests.spawner.steps import local_config

LOG = logging.getLogger("tests.cancels")


def request() -> JobRequest:
    return JobRequest(kind=JobKind.BATCH, owner="ann", command=("sleep", "600"))


async def test_a_job_is_cancelled_and_its_note_removed(tmp_path: Path):
    async with CoreProcess(local_config()) as core, core.client() as client:
        job_id = str(uuid.uuid4())
        await client.put_job(job_id, request())
        cancels = Cancels(client, tmp_path / "notes", LOG)
        assert await cancels.cancel(job_id, wait=10)
        job = await client.get_job(job_id)
        assert job is not None
        assert job.target.value == "CANCELLED"
        assert not list((tmp_path / "notes").iterdir())


async def test_a_cancel_that_comes_before_its_job_wins(tmp_path: Path):
    async with CoreProcess(local_config()) as core, core.client() as client:
        job_id = str(uuid.uuid4())
        assert await Cancels(client, tmp_path / "notes", LOG).cancel(job_id, wait=10)
        with pytest.raises(CoreError) as caught:
            await client.put_job(job_id, request())
        assert caught.value.status == 410


async def test_the_note_stays_while_the_core_is_away_and_the_next_hub_takes_it_up(tmp_path: Path):
    notes, job_id = tmp_path / "notes", str(uuid.uuid4())
    async with CoreClient(tmp_path / "nobody.sock") as nobody:
        first = Cancels(nobody, notes, LOG)
        assert not await first.cancel(job_id, wait=0.1)
        assert [note.name for note in notes.iterdir()] == [job_id]
        task = first.add(job_id)
        task.cancel()
        await asyncio.wait({task})
    async with CoreProcess(local_config()) as core, core.client() as client:
        second = Cancels(client, notes, LOG)
        second.resume()
        assert second.pending == {job_id}
        await eventually(lambda: not second.pending, "the cancellation")
        assert not list(notes.iterdir())


async def test_other_files_in_the_folder_are_left_alone(tmp_path: Path):
    (tmp_path / "README").touch()
    async with CoreClient(tmp_path / "nobody.sock") as nobody:
        cancels = Cancels(nobody, tmp_path, LOG)
        cancels.resume()
        assert cancels.pending == frozenset()
