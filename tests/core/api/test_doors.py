"""The Unix socket: who may come in, and what is done about a socket that is there already."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from skyport_core.api import DoorError, Services, UnixDoor, make_application, unix_door
from skyport_core.api.guard import Guard
from skyport_core.client.certificates import new_key, signing_request
from tests.infra.requirements import needs_root

from .served import Http, memory_services

HUB_REQUEST = json.dumps({"csr": signing_request(new_key()), "kind": "hub", "name": "hub"})

NOBODY = 65534
STRANGER = 65533


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with memory_services(tmp_path) as services:
        yield services


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody can enter, unlike those of pytest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@asynccontextmanager
async def opened(
    services: Services, path: Path, allowed_uids: Collection[int] = ()
) -> AsyncIterator[UnixDoor]:
    door = await unix_door(make_application(services), path, allowed_uids=allowed_uids)
    try:
        yield door
    finally:
        await door.close()


@contextlib.contextmanager
def acting_as(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


async def status_for(
    uid: int, path: Path, method: str = "GET", resource: str = "/jobs", body: str = ""
) -> tuple[int, str]:
    """Status and body that a user gets."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with acting_as(uid):
            connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    reader, writer = await asyncio.open_unix_connection(sock=connection)
    head = f"{method} /api/v1{resource} HTTP/1.1\r\nHost: core\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(f"{head}{body}".encode())
    answer = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_the_socket_is_for_its_owner_alone(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "new" / "core.sock"
    async with opened(services, path):
        assert mode(path) == 0o600
        assert mode(path.parent) == 0o700


async def test_closing_removes_the_socket_and_may_be_repeated(
    services: Services, tmp_path: Path
) -> None:
    async with opened(services, tmp_path / "core.sock") as door:
        await door.close()
        assert not door.path.exists()


@needs_root
async def test_only_root_and_the_cores_user_get_certificates_of_all_kinds(
    services: Services, public: Path
) -> None:
    path = public / "core.sock"
    rights = {}
    async with opened(services, path, [NOBODY]):
        for uid in (0, NOBODY):
            status, answer = await status_for(uid, path, "POST", "/certificates", HUB_REQUEST)
            rights[uid] = status, "kind (hub)" in answer
    assert rights == {0: (201, False), NOBODY: (403, True)}


async def test_the_socket_of_a_dead_core_is_replaced(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with opened(services, path), Http(path) as http:
        assert (await http("GET", "/health")).status == 200


async def test_the_socket_of_a_living_core_is_not(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    async with opened(services, path), Http(path) as http:
        with pytest.raises(DoorError, match=r"Another core serves .*SKYPORT_HOME"):
            await unix_door(make_application(services), path)
        assert (await http("GET", "/health")).status == 200


async def test_two_cores_that_start_at_once_do_not_take_turns(
    services: Services, tmp_path: Path
) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DoorError, match="Another core is starting"):
            await unix_door(make_application(services), tmp_path / "core.sock")
    finally:
        os.close(descriptor)


async def test_a_core_leaves_the_socket_of_its_successor(
    services: Services, tmp_path: Path
) -> None:
    path = tmp_path / "core.sock"
    async with opened(services, path) as first:
        path.rename(tmp_path / "moved")
        async with opened(services, path), Http(path) as http:
            await first.close()
            assert (await http("GET", "/health")).status == 200


async def test_a_file_that_is_no_socket_is_left_alone(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "core.sock"
    path.write_text("mine")
    with pytest.raises(DoorError, match="not a socket"):
        await unix_door(make_application(services), path)
    assert path.read_text() == "mine"


async def test_too_long_a_path_names_skyport_home(services: Services, tmp_path: Path) -> None:
    path = tmp_path / ("x" * 100) / "core.sock"
    with pytest.raises(DoorError, match=r"at most 107.*SKYPORT_HOME"):
        await unix_door(make_application(services), path)


async def test_a_path_of_107_bytes_is_not_too_long(services: Services, public: Path) -> None:
    path = public / "s".ljust(107 - len(bytes(public)) - 1, "s")
    async with opened(services, path), Http(path) as http:
        assert (await http("GET", "/health")).status == 200


async def test_a_folder_that_others_may_write_to_is_refused(
    services: Services, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(DoorError, match="chmod go-w"):
        await unix_door(make_application(services), tmp_path / "core.sock")


@needs_root
async def test_a_folder_of_another_user_is_refused(services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    os.chown(folder, NOBODY, -1)
    with pytest.raises(DoorError, match="belongs to nobody"):
        await unix_door(make_application(services), folder / "core.sock")


@needs_root
async def test_other_users_cannot_even_connect(services: Services, public: Path) -> None:
    async with opened(services, public / "core.sock") as door:
        with pytest.raises(PermissionError):
            await status_for(NOBODY, door.path)


@needs_root
async def test_an_allowed_user_comes_in_and_others_do_not(
    services: Services, public: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(services, public / "core.sock", {NOBODY}) as door:
        assert (await status_for(NOBODY, door.path))[0] == 200
        assert (await status_for(0, door.path))[0] == 200
        status, body = await status_for(STRANGER, door.path)
        assert status == 403
        error = json.loads(body)["error"]
        assert str(STRANGER) in error["message"]
        assert "allowed_users" in error["message"]
        assert f"user {STRANGER}" in caplog.text


async def test_no_request_outlives_its_door(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyport_core.api.doors.server.CLOSE_TIMEOUT", 0.01)
    ends: list[str] = []

    async def close(_: Guard) -> None:
        ends.append("guard")

    monkeypatch.setattr(Guard, "close", close)
    begun = asyncio.Event()

    async def stuck(*_: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ends.append("handler")

    async with opened(services, tmp_path / "core.sock") as door:
        services.info.health = stuck  # type: ignore[method-assign, assignment]
        async with Http(door.path) as http:
            asking = asyncio.ensure_future(http("GET", "/health"))
            await begun.wait()
            await door.close()
            ends.append("door")
            await asyncio.gather(asking, return_exceptions=True)
    assert ends[:3] == ["handler", "guard", "door"]
