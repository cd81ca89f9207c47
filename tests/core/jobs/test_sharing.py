"""One input for all jobs of an array."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from skyport_core.jobs import files as files_module
from skyport_core.jobs.files import JobFiles
from skyport_core.model import Job, JobState, task_id
from skyport_core.outputs import output_folder
from skyport_core.service import ServiceError
from skyport_core.store import Store
from skyport_core.wire import JobRequest
from tests.infra.desk import Desk


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = await Store.open(f"sqlite:///{tmp_path / 'core.db'}", Fernet.generate_key())
    yield store
    await store.close()


@pytest.fixture
def files(store: Store, tmp_path: Path) -> JobFiles:
    return JobFiles(store, tmp_path, 2**20, lambda: None, max_total=100)


async def submitted(store: Store, array: str = "0-2", *inputs: str) -> list[Job]:
    """The jobs of a new array, in order."""
    request = JobRequest(command=("x",), owner="ann", inputs=inputs or ("a",), array=array)
    first, _ = await store.put_job(str(uuid.uuid4()), "ann", request, now())
    return await store.list_jobs(array=first.id)


async def put(files: JobFiles, job: Job, data: bytes = b"bytes", name: str = "a") -> bool:
    upload = await files.upload(job, name, 0o640, len(data))
    await upload.write(data)
    return (await upload.finish())[1]


def content(tmp_path: Path, job: Job, name: str = "a") -> bytes | None:
    path = output_folder(tmp_path, job.id) / "inputs" / name
    return path.read_bytes() if path.exists() else None


async def test_an_upload_to_an_array_is_for_all_its_jobs(
    store: Store, files: JobFiles, tmp_path: Path
) -> None:
    jobs = await submitted(store)
    assert [await files.missing_inputs(job) for job in jobs] == [["a"]] * 3
    assert await put(files, jobs[0])
    assert [await files.missing_inputs(job) for job in jobs] == [[]] * 3
    assert [content(tmp_path, job) for job in jobs] == [b"bytes"] * 3
    assert not await put(files, jobs[0], b"newer")
    assert [content(tmp_path, job) for job in jobs] == [b"newer"] * 3
    assert not list(tmp_path.glob("**/uploads/*"))


async def test_an_upload_to_another_job_of_an_array_is_for_that_one(
    store: Store, files: JobFiles, tmp_path: Path
) -> None:
    jobs = await submitted(store)
    await put(files, jobs[1], b"mine")
    assert [content(tmp_path, job) for job in jobs] == [None, b"mine", None]
    await put(files, jobs[0])
    assert [content(tmp_path, job) for job in jobs] == [b"bytes", b"mine", b"bytes"]


async def test_the_rest_of_an_array_gets_files_although_its_first_job_has_ended(
    store: Store, files: JobFiles, tmp_path: Path
) -> None:
    jobs = await submitted(store)
    for job in jobs[:2]:
        await store.update_job(job, state=JobState.CANCELLED, target=JobState.CANCELLED)
    first = await store.get_job(jobs[0].id)
    assert first is not None
    await put(files, first)
    assert [content(tmp_path, job) for job in jobs] == [None, None, b"bytes"]
    await store.cancel_array(first.id, "ann", now())
    with pytest.raises(ServiceError, match="while it is QUEUED"):
        await files.upload(first, "a", 0o600, 1)


async def test_what_jobs_share_is_counted_once_and_each_lets_go_of_it_alone(
    store: Store, files: JobFiles, tmp_path: Path
) -> None:
    jobs = await submitted(store, "0-9", "a", "b")
    await put(files, jobs[0], b"x" * 60)
    for fresh in (False, True):
        assert await files._totals.beside(jobs[0], fresh=fresh) == 0
    await put(files, jobs[0], b"x" * 40, "b")
    other = (await submitted(store, "0-1"))[0]
    with pytest.raises(ServiceError, match="all jobs of ann"):
        await files.upload(other, "a", 0o600, 1)
    await files.remove_input(jobs[0], "a")
    await files.remove_files(jobs[1].id)
    assert [content(tmp_path, job) for job in jobs[:2]] == [None, None]
    assert [content(tmp_path, job) for job in jobs[2:]] == [b"x" * 60] * 8


async def test_an_upload_that_broke_off_in_the_midst_is_completed_by_the_next(
    store: Store, files: JobFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await submitted(store)
    real = files_module.link_input
    monkeypatch.setattr(files_module, "link_input", _failing(real))
    with pytest.raises(RuntimeError):
        await put(files, jobs[0])
    assert [await files.missing_inputs(job) for job in jobs] == [["a"], [], ["a"]]
    monkeypatch.setattr(files_module, "link_input", real)
    again = JobFiles(store, tmp_path, 2**20, lambda: None)
    assert await put(again, jobs[0])
    assert [content(tmp_path, job) for job in jobs] == [b"bytes"] * 3


def _failing(real: Any) -> Any:
    def link(draft: Path, folders: Any, path: str, link: Path) -> list[Path]:
        real(draft, list(folders)[:1], path, link)
        raise RuntimeError("the core dies")

    return link


async def test_a_job_that_ended_meanwhile_keeps_nothing(
    store: Store, files: JobFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = await submitted(store)
    real = files_module.link_input
    loop = asyncio.get_running_loop()

    def cancelled(*arguments: Any) -> list[Path]:
        end = store.update_job(jobs[1], state=JobState.CANCELLED, target=JobState.CANCELLED)
        asyncio.run_coroutine_threadsafe(end, loop).result()
        return real(*arguments)

    monkeypatch.setattr(files_module, "link_input", cancelled)
    await put(files, jobs[0])
    assert [content(tmp_path, job) for job in jobs] == [b"bytes", None, b"bytes"]
    assert not output_folder(tmp_path, jobs[1].id).exists()


async def test_a_thousand_jobs_get_their_input_at_once(
    store: Store, files: JobFiles, tmp_path: Path
) -> None:
    jobs = await submitted(store, "0-999")
    began = time.monotonic()
    await put(files, jobs[0])
    took = time.monotonic() - began
    print(f"{took:.3f} s")
    assert took < 5
    assert content(tmp_path, jobs[-1]) == b"bytes"


async def test_the_jobs_of_an_array_run_with_the_file_that_was_uploaded_once(desk: Desk) -> None:
    array = await desk.submit(
        "sh", "-c", 'cat data.csv; echo " $SKYPORT_ARRAY_INDEX"', inputs=("data.csv",), array="0-2"
    )
    await desk.client.upload(array, "data.csv", b"1,2")
    for index in range(3):
        job = array if index == 0 else task_id(array, index)
        assert (await desk.end(job)).state is JobState.FINISHED
        assert await desk.log(job) == f"1,2 {index}\n"


async def test_the_console_uploads_a_file_once_for_all_jobs_of_an_array(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "data.csv").write_text("12345")
    words = ["--array", "0-1", "--input", "data.csv", "--", "wc", "-c", "data.csv"]
    console = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "skyport_core.console", "--socket", str(desk.core.socket)),
        *("submit", *words),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    told, _ = await console.communicate()
    array = told.decode().strip()
    for job in (array, task_id(array, 1)):
        assert (await desk.end(job)).state is JobState.FINISHED
        assert await desk.log(job) == "5 data.csv\n"
