"""Inputs that are uploaded, outputs that are downloaded, and what must not get through."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from yarl import URL

from skyport_core.api import pace
from skyport_core.api.limits import stays_open
from skyport_core.api.operation import operation_of
from skyport_core.api.v1 import files as handlers
from skyport_core.jobs.files import JobFiles
from skyport_core.model import Job, JobState
from skyport_core.outputs import output_folder
from skyport_core.service import ServiceError
from skyport_core.store import Conflict
from skyport_core.wire import API_PREFIX, FileList, JobRequest
from skyport_gates.timing import in_time
from tests.core.api.served import JOB, MAX_INPUT, OTHER, Http, ServedCore, now
from tests.infra.wait import eventually

NAMES = ("data.csv", "deep/er/model.bin", "a b%2Fü.txt")


@pytest.fixture
async def waiting(core: ServedCore) -> Job:
    """A job that waits for three inputs."""
    request = JobRequest(command=("true",), owner="alice", inputs=NAMES)
    job, _ = await core.store.put_job(JOB, "alice", request, now())
    return job


@pytest.fixture
def folder(core: ServedCore) -> Path:
    """Where the core keeps the job's files."""
    return output_folder(core.socket.parent, JOB)


@pytest.fixture
def outputs(folder: Path) -> Path:
    """Where the core keeps what the job brought home."""
    path = folder / "files"
    path.mkdir(parents=True)
    return path


@pytest.fixture
async def files(core: ServedCore) -> AsyncIterator[JobFiles]:
    assert isinstance(core.services.files, JobFiles)
    yield core.services.files


def left_over(folder: Path) -> list[str]:
    """Uploads that were not finished."""
    return [path.name for path in (folder / "uploads").glob("*")]


async def test_an_upload_is_private_and_has_the_mode_that_was_asked_for(
    http: Http, waiting: Job, folder: Path
) -> None:
    told = await http(
        "PUT",
        f"/jobs/{JOB}/inputs/deep/er/model.bin",
        data=b"bytes",
        headers={"X-Skyport-Mode": "755"},
    )
    assert told.status == 201
    assert (told.json["path"], told.json["size"], told.json["mode"]) == (NAMES[1], 5, 0o755)
    path = folder / "inputs/deep/er/model.bin"
    assert path.read_bytes() == b"bytes"
    assert stat.S_IMODE(path.stat().st_mode) == 0o755
    for parent in (path.parent, path.parent.parent, folder / "inputs", folder):
        assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    assert not left_over(folder)


async def test_an_upload_may_be_repeated(http: Http, waiting: Job, folder: Path) -> None:
    first = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"one")
    again = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"two")
    assert (first.status, again.status) == (201, 200)
    assert (folder / "inputs/data.csv").read_bytes() == b"two"
    assert (await http("GET", f"/jobs/{JOB}/inputs/data.csv")).body == b"two"


async def test_the_queue_learns_which_inputs_are_missing(
    http: Http, waiting: Job, files: JobFiles
) -> None:
    assert await files.missing_inputs(waiting) == list(NAMES)
    await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"")
    await http("PUT", f"/jobs/{JOB}/inputs/a%20b%252F%C3%BC.txt", data=b"")
    assert await files.missing_inputs(waiting) == [NAMES[1]]
    listed = FileList.model_validate_json((await http("GET", f"/jobs/{JOB}/files")).body)
    assert (listed.missing, listed.complete) == ([NAMES[1]], False)
    assert sorted(view.path for view in listed.files) == [NAMES[2], NAMES[0]]
    removed = await http("DELETE", f"/jobs/{JOB}/inputs/data.csv")
    again = await http("DELETE", f"/jobs/{JOB}/inputs/data.csv")
    assert (removed.status, again.status) == (204, 204)
    assert await files.missing_inputs(waiting) == list(NAMES[:2])


@pytest.mark.parametrize("state", [JobState.ALLOCATING, JobState.FINISHED])
async def test_inputs_change_only_while_the_job_waits(
    core: ServedCore, http: Http, waiting: Job, state: JobState
) -> None:
    await core.store.update_job(waiting, state=state)
    for method in ("PUT", "DELETE"):
        told = await http(method, f"/jobs/{JOB}/inputs/data.csv", data=b"late")
        assert (told.status, told.error["code"]) == (409, "not_queued")
    assert (await http("GET", f"/jobs/{JOB}/inputs/data.csv")).status == 404


async def test_a_job_that_is_placed_while_an_input_goes_keeps_it(
    core: ServedCore, http: Http, waiting: Job, files: JobFiles, folder: Path
) -> None:
    await http("PUT", f"/jobs/{JOB}/inputs/deep/er/model.bin", data=b"x")
    await core.store.update_job(waiting, state=JobState.ALLOCATING)
    with pytest.raises(ServiceError, match="is ALLOCATING"):
        await files.remove_input(waiting, "deep/er/model.bin")
    assert (folder / "inputs/deep/er/model.bin").read_bytes() == b"x"
    assert not left_over(folder)


async def test_a_place_that_was_planned_before_an_input_went_is_not_given(
    core: ServedCore, http: Http, waiting: Job
) -> None:
    await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"x")
    await http("DELETE", f"/jobs/{JOB}/inputs/data.csv")
    with pytest.raises(Conflict):
        await core.store.update_job(waiting, state=JobState.ALLOCATING)


async def test_inputs_of_jobs_that_left_the_queue_are_not_remembered(
    waiting: Job, files: JobFiles
) -> None:
    await files.missing_inputs(waiting)
    files.forget_others({OTHER})
    assert not files._missing


async def test_a_job_that_is_placed_during_an_upload_does_not_get_it(
    core: ServedCore, waiting: Job, files: JobFiles, folder: Path
) -> None:
    upload = await files.upload(waiting, "data.csv", 0o600, None)
    await upload.write(b"x")
    await core.store.update_job(waiting, state=JobState.ALLOCATING)
    with pytest.raises(ServiceError, match="is ALLOCATING"):
        await upload.finish()
    assert not (folder / "inputs").exists()
    assert not left_over(folder)


@pytest.mark.parametrize("chunked", [False, True])
async def test_inputs_of_a_job_are_limited_together(
    http: Http, waiting: Job, folder: Path, chunked: bool
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield bytes(MAX_INPUT - 10)

    await http("PUT", f"/jobs/{JOB}/inputs/{NAMES[1]}", data=bytes(11))
    data = parts() if chunked else bytes(MAX_INPUT - 10)
    told = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=data)
    assert (told.status, told.error["code"]) == (413, "too_large")
    assert not left_over(folder)
    whole = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=bytes(MAX_INPUT - 11))
    assert whole.status == 201


async def test_uploads_of_unknown_size_share_the_limit(waiting: Job, files: JobFiles) -> None:
    first = await files.upload(waiting, "data.csv", 0o600, None)
    other = await files.upload(waiting, NAMES[1], 0o600, None)
    await first.write(bytes(MAX_INPUT - 10))
    await first.finish()
    with pytest.raises(ServiceError, match="together"):
        await other.write(bytes(11))
    await other.abort()


async def test_two_uploads_at_once_share_the_limit(waiting: Job, files: JobFiles) -> None:
    first = await files.upload(waiting, "data.csv", 0o600, MAX_INPUT)
    with pytest.raises(ServiceError, match="together"):
        await files.upload(waiting, NAMES[1], 0o600, 1)
    await first.abort()
    await (await files.upload(waiting, NAMES[1], 0o600, 1)).abort()


async def test_bytes_that_changed_on_the_way_are_refused(
    http: Http, waiting: Job, folder: Path
) -> None:
    digest = base64.b64encode(hashlib.sha256(b"right").digest()).decode()
    headers = {"Repr-Digest": f"sha-512=:AA==:, sha-256=:{digest}:"}
    wrong = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"wrong", headers=headers)
    assert (wrong.status, wrong.error["field"]) == (422, "Repr-Digest")
    assert not left_over(folder)
    right = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"right", headers=headers)
    assert right.status == 201


async def test_a_connection_cut_half_way_leaves_nothing(
    core: ServedCore, waiting: Job, folder: Path
) -> None:
    _, writer = await asyncio.open_unix_connection(str(core.socket))
    head = f"PUT {API_PREFIX}/jobs/{JOB}/inputs/data.csv HTTP/1.1\r\nHost: core\r\n"
    writer.write(f"{head}Content-Length: {MAX_INPUT}\r\n\r\n".encode() + bytes(MAX_INPUT - 1))
    await writer.drain()
    await eventually(lambda: bool(core.application.settings["running"]), "the upload", 5)
    writer.close()
    await core.idle()
    assert not (folder / "inputs").exists()
    assert not left_over(folder)


async def test_what_a_killed_core_left_is_removed_with_the_next_upload(
    http: Http, waiting: Job, folder: Path
) -> None:
    (folder / "uploads").mkdir(parents=True)
    (folder / "uploads/dead").write_bytes(b"half")
    await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"x")
    assert not left_over(folder)


@pytest.mark.parametrize(
    "name",
    [
        "../core.db",
        "..%2F..%2Fcore.db",
        "%2e%2e/core.db",
        "deep//x",
        "./data.csv",
        "other",
        "x" * 300,
    ],
)
async def test_only_the_inputs_that_a_job_named_are_taken(
    http: Http, waiting: Job, core: ServedCore, name: str
) -> None:
    before = (core.socket.parent / "core.db").stat().st_ino
    url = URL(f"http://core{API_PREFIX}/jobs/{JOB}/inputs/{name}", encoded=True)
    for method in ("PUT", "DELETE", "GET"):
        async with http.session.request(method, url) as answer:
            assert answer.status == 404
    assert (core.socket.parent / "core.db").stat().st_ino == before


async def test_a_mode_that_is_none_is_refused(http: Http, waiting: Job) -> None:
    headers = {"X-Skyport-Mode": "4755"}
    told = await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"", headers=headers)
    assert (told.status, told.error["field"]) == (422, "X-Skyport-Mode")


async def test_a_name_that_no_file_can_have_is_refused_in_words(
    core: ServedCore, http: Http
) -> None:
    names = ("n" * 300, "a", "a/b")
    request = JobRequest(command=("true",), owner="alice", inputs=names)
    await core.store.put_job(JOB, "alice", request, now())
    await http("PUT", f"/jobs/{JOB}/inputs/a", data=b"")
    for name in (names[0], names[2]):
        told = await http("PUT", f"/jobs/{JOB}/inputs/{name}", data=b"")
        assert (told.status, told.error["field"]) == (422, "path")


async def test_a_download_is_no_page_of_the_core(
    core: ServedCore, http: Http, outputs: Path
) -> None:
    await core.submit()
    (outputs / "eine Seite.html").write_text("<script>1</script>")
    told = await http("GET", f"/jobs/{JOB}/files/eine%20Seite.html")
    assert told.body == b"<script>1</script>"
    assert told.headers["Content-Type"] == "application/octet-stream"
    assert told.headers["X-Content-Type-Options"] == "nosniff"
    assert told.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert told.headers["Content-Disposition"] == "attachment; filename*=UTF-8''eine%20Seite.html"


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=2-3", 206, "bytes 2-3/10", b"23"),
        ("bytes=7-", 206, "bytes 7-9/10", b"789"),
        ("bytes=-2", 206, "bytes 8-9/10", b"89"),
        ("bytes=5-99", 206, "bytes 5-9/10", b"56789"),
        ("bytes=10-", 416, "bytes */10", None),
        ("bytes=-0", 416, "bytes */10", None),
        ("bytes=3-2", 200, None, b"0123456789"),
        ("bytes=0-1,4-5", 200, None, b"0123456789"),
        ("lines=1-2", 200, None, b"0123456789"),
    ],
)
async def test_part_of_a_file(
    core: ServedCore,
    http: Http,
    outputs: Path,
    wanted: str,
    status: int,
    content_range: str | None,
    body: bytes | None,
) -> None:
    await core.submit()
    (outputs / "digits").write_bytes(b"0123456789")
    told = await http("GET", f"/jobs/{JOB}/files/digits", headers={"Range": wanted})
    assert (told.status, told.headers.get("Content-Range")) == (status, content_range)
    assert body is None or told.body == body


async def test_a_part_is_of_the_file_that_the_client_knows(
    core: ServedCore, http: Http, outputs: Path
) -> None:
    await core.submit()
    (outputs / "digits").write_bytes(b"0123456789")
    path = f"/jobs/{JOB}/files/digits"
    head = await http("HEAD", path)
    assert (head.headers["Content-Length"], head.body) == ("10", b"")
    tag = {"If-Range": head.headers["ETag"], "Range": "bytes=9-"}
    assert (await http("GET", path, headers=tag)).body == b"9"
    known = await http("GET", path, headers={"If-None-Match": head.headers["ETag"]})
    assert (known.status, known.body) == (304, b"")
    (outputs / "digits").write_bytes(b"abcdefghijk")
    assert (await http("GET", path, headers=tag)).body == b"abcdefghijk"


async def test_a_head_tells_of_the_whole_file(core: ServedCore, http: Http, outputs: Path) -> None:
    await core.submit()
    (outputs / "digits").write_bytes(b"0123456789")
    told = await http("HEAD", f"/jobs/{JOB}/files/digits", headers={"Range": "bytes=2-3"})
    assert (told.status, told.headers["Content-Length"]) == (200, "10")


async def test_a_result_may_be_called_anything(core: ServedCore, http: Http, outputs: Path) -> None:
    await core.submit()
    for name in ("a\nb", "\x9b31m", ".own.part", "\u202etxt.exe"):
        (outputs / name).write_text(name)
        told = await http("GET", f"/jobs/{JOB}/files/{quote(name)}")
        assert (told.status, told.body.decode()) == (200, name)
    assert len((await http("GET", f"/jobs/{JOB}/files")).json["files"]) == 4


async def test_an_upload_takes_the_place_of_a_link(
    http: Http, waiting: Job, core: ServedCore, folder: Path
) -> None:
    secret = core.socket.parent / "secret"
    secret.write_text("secret")
    (folder / "inputs").mkdir(parents=True)
    (folder / "inputs/data.csv").symlink_to(secret)
    assert (await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"mine")).status == 201
    assert (secret.read_text(), (folder / "inputs/data.csv").read_text()) == ("secret", "mine")
    (folder / "inputs/deep").symlink_to(core.socket.parent)
    told = await http("PUT", f"/jobs/{JOB}/inputs/deep/er/model.bin", data=b"mine")
    assert (told.status, told.error["field"]) == (422, "path")


async def test_a_removed_record_takes_nothing_that_links_lead_to(
    files: JobFiles, core: ServedCore, outputs: Path, folder: Path
) -> None:
    kept = core.socket.parent / "kept"
    kept.mkdir()
    (kept / "file").write_text("x")
    (outputs / "link").symlink_to(kept)
    (outputs / "twin").hardlink_to(kept / "file")
    await files.remove_files(JOB)
    assert not folder.exists()
    assert (kept / "file").read_text() == "x"


async def test_links_and_pipes_among_the_outputs_are_not_followed(
    core: ServedCore, http: Http, outputs: Path
) -> None:
    await core.submit()
    secret = core.socket.parent / "secret"
    secret.write_text("secret")
    (outputs / "link").symlink_to(secret)
    (outputs / "folder").symlink_to(core.socket.parent)
    (outputs / "core").mkdir()
    os.mkfifo(outputs / "pipe")
    for name in ("link", "folder/secret", "pipe", "core", "core/..%2Flink", "x%00y", "n" * 5000):
        told = await http("GET", f"/jobs/{JOB}/files/{name}")
        assert told.status == 404, name
    assert (await http("GET", f"/jobs/{JOB}/files")).json["files"] == []


async def test_outputs_are_complete_when_the_job_ended_and_all_is_home(
    core: ServedCore, http: Http, outputs: Path, folder: Path
) -> None:
    await core.submit()
    (outputs / "result").write_text("42")
    (folder / "complete").touch()
    assert not (await http("GET", f"/jobs/{JOB}/files")).json["complete"]
    await core.end()
    listed = (await http("GET", f"/jobs/{JOB}/files")).json
    assert listed["complete"]
    assert [(view["path"], view["kind"]) for view in listed["files"]] == [("result", "output")]


async def test_a_removed_record_leaves_no_file(
    http: Http, waiting: Job, files: JobFiles, folder: Path
) -> None:
    await http("PUT", f"/jobs/{JOB}/inputs/data.csv", data=b"x")
    upload = await files.upload(waiting, NAMES[1], 0o600, None)
    await upload.write(bytes(MAX_INPUT - 1))
    await files.remove_files(JOB)
    await files.remove_files(JOB)
    assert not folder.exists()
    with pytest.raises(ValueError, match="not a job id"):
        await files.remove_files(str(replace(waiting, id=OTHER.upper()).id))


async def test_a_large_download_waits_for_its_client(
    core: ServedCore, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = 0
    original = handlers.Download.send

    async def counted(self: handlers.Download, data: bytes) -> None:
        nonlocal sent
        sent += len(data)
        await original(self, data)

    monkeypatch.setattr(handlers.Download, "send", counted)
    await core.submit()
    with (outputs / "big").open("wb") as file:
        file.truncate(64 * 2**20)
    _, writer = await asyncio.open_unix_connection(str(core.socket))
    request = f"GET {API_PREFIX}/jobs/{JOB}/files/big HTTP/1.1\r\nHost: core\r\n\r\n"
    writer.write(request.encode())
    await eventually(lambda: sent > 0, "the first bytes", 5)
    before = -1
    while before != sent:
        before = sent
        await asyncio.sleep(0.05)
    assert sent < 8 * 2**20
    writer.close()
    await core.idle()


async def test_an_upload_that_comes_too_slowly_is_ended(
    core: ServedCore, waiting: Job, files: JobFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "WINDOW", 0.1)
    reader, writer = await asyncio.open_unix_connection(str(core.socket))
    head = f"PUT {API_PREFIX}/jobs/{JOB}/inputs/data.csv HTTP/1.1\r\nHost: core\r\n"
    writer.write(f"{head}Content-Length: 1000\r\n\r\na".encode())
    assert await in_time(reader.read(), 10) == b""
    writer.close()
    await eventually(lambda: not files._uploads, "the upload's end")


async def test_a_download_that_is_not_taken_is_ended(
    core: ServedCore, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await core.submit()
    with (outputs / "big").open("wb") as file:
        file.truncate(64 * 2**20)
    monkeypatch.setattr(pace, "WINDOW", 0.1)
    reader, writer = await asyncio.open_unix_connection(str(core.socket), limit=2**10)
    writer.write(f"GET {API_PREFIX}/jobs/{JOB}/files/big HTTP/1.1\r\nHost: core\r\n\r\n".encode())
    await reader.read(1)
    running = core.application.settings["running"]
    await eventually(lambda: not running, "the end of the answer")
    writer.close()


@pytest.mark.parametrize(("method", "path"), [("PUT", "inputs/data.csv"), ("GET", "files/x")])
async def test_transfers_count_as_streams(method: str, path: str) -> None:
    handler = {"inputs": handlers.InputHandler, "files": handlers.OutputHandler}[path.split("/")[0]]
    assert stays_open(operation_of(getattr(handler, method.lower())), None)
