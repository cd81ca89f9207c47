"""Files to jobs and back, through the real API."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyport_core.client import CoreClient, CoreError, FileTrouble
from skyport_core.wire import JobRequest
from tests.core.api.served import JOB, ServedCore

from .broken_way import broken_way

WAITING = JobRequest(command=("cat", "data.csv"), inputs=("data.csv", "in/ü %.txt"))


def output(core: ServedCore, name: str, content: bytes) -> None:
    path = core.socket.parent / "jobs" / JOB / "files" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


async def test_an_upload_streams_a_file_with_its_mode(
    core: ServedCore, client: CoreClient, tmp_path: Path
) -> None:
    await client.put_job(JOB, WAITING)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2**20 - 1))
    source.chmod(0o750)
    told: list[tuple[int, int | None]] = []
    await client.upload(
        JOB, "data.csv", source, progress=lambda done, whole: told.append((done, whole))
    )
    (arrived,) = (await client.files(JOB)).files
    assert (arrived.path, arrived.size, arrived.mode) == ("data.csv", 2**20 - 1, 0o750)
    assert told[0] == (0, 2**20 - 1)
    assert told[-1] == (2**20 - 1, 2**20 - 1)


async def test_names_may_hold_any_character(core: ServedCore, client: CoreClient) -> None:
    await client.put_job(JOB, WAITING)
    await client.upload(JOB, "in/ü %.txt", b"text")
    listed = await client.files(JOB)
    assert ([each.path for each in listed.files], listed.missing) == (["in/ü %.txt"], ["data.csv"])


async def test_an_upload_that_is_refused_says_why(client: CoreClient) -> None:
    await client.put_job(JOB, WAITING)
    with pytest.raises(CoreError, match=r"its inputs are: data\.csv") as caught:
        await client.upload(JOB, "other", b"text")
    assert caught.value.status == 404


async def test_a_file_that_is_not_here_is_named(client: CoreClient, tmp_path: Path) -> None:
    with pytest.raises(FileTrouble, match="nothing: No such file"):
        await client.upload(JOB, "data.csv", tmp_path / "nothing")


async def test_a_download_goes_on_where_it_broke(core: ServedCore, tmp_path: Path) -> None:
    content = os.urandom(5 * 2**18)
    await core.submit()
    output(core, "deep/result", content)
    async with broken_way(tmp_path, core.socket) as way, CoreClient(way.path) as client:
        way.cut_after, way.cuts = 2**19, 2
        told: list[int] = []
        target = tmp_path / "home" / "result"
        await client.download(
            JOB, "deep/result", target, progress=lambda done, _: told.append(done)
        )
    assert target.read_bytes() == content
    assert told == sorted(told)
    assert sum(b"Range: bytes=" in request for request in way.requests) == 2
    assert [path.name for path in target.parent.iterdir()] == ["result"]


async def test_a_file_that_changed_meanwhile_is_taken_anew(
    core: ServedCore, tmp_path: Path
) -> None:
    await core.submit()
    output(core, "result", b"a" * 2**20)
    async with broken_way(tmp_path, core.socket) as way, CoreClient(way.path) as client:
        way.cut_after, way.cuts = 2**18, 1

        def change(done: int, whole: int | None) -> None:
            if way.cuts == 0 and done < 2**19:
                output(core, "result", b"b" * 2**19)

        target = tmp_path / "result"
        await client.download(JOB, "result", target, progress=change)
    assert set(target.read_bytes()) == {ord("b")}
    assert target.stat().st_size == 2**19


async def test_a_download_that_fails_leaves_what_was_there(
    core: ServedCore, client: CoreClient, tmp_path: Path
) -> None:
    await core.submit()
    target = tmp_path / "home" / "result"
    target.parent.mkdir()
    target.write_text("old")
    with pytest.raises(CoreError, match="no result"):
        await client.download(JOB, "result", target)
    assert target.read_text() == "old"
    assert len(list(target.parent.iterdir())) == 1


async def test_a_place_that_cannot_be_written_is_named(
    core: ServedCore, client: CoreClient, tmp_path: Path
) -> None:
    await core.submit()
    output(core, "result", b"text")
    (tmp_path / "file").write_text("")
    with pytest.raises(FileTrouble, match="file"):
        await client.download(JOB, "result", tmp_path / "file" / "result")
