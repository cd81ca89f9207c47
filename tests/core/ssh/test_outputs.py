"""Results from a node whose SFTP server is the user's own, and lies."""

from __future__ import annotations

import asyncio
import io
import os
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import asyncssh
import pytest

from skyport_core.ssh import files, outputs
from skyport_core.ssh.errors import StagingRefused

FOLDER, FILE = stat.S_IFDIR | 0o755, stat.S_IFREG | 0o6757
FOLDERS = asyncssh.SFTPAttrs(permissions=FOLDER)
Tell = Callable[[bytes], Any]


class Liar(asyncssh.SFTPServer):
    """Every name is canonical; ``kinds`` and ``names`` tell the rest."""

    kinds: Tell = staticmethod(lambda _: asyncssh.SFTPAttrs(permissions=FOLDER))
    names: Tell = staticmethod(lambda _: [])

    def realpath(self, path: bytes) -> bytes:
        return path

    def stat(self, path: bytes) -> Any:
        return self.kinds(path)

    lstat = stat

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        for name in self.names(path):
            yield asyncssh.SFTPName(name, attrs=self.kinds(name))

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        return io.BytesIO(b"0123456789")


class Anybody(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


@asynccontextmanager
async def liar(**lies: Tell) -> AsyncIterator[asyncssh.SFTPClient]:
    server = type("Server", (Liar,), {name: staticmethod(lie) for name, lie in lies.items()})
    key = asyncssh.generate_private_key("ssh-ed25519")
    listener = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Anybody,
        server_host_keys=[key],
        sftp_factory=server,
        config=None,
    )
    async with (
        listener,
        asyncssh.connect(
            "127.0.0.1",
            listener.get_port(),
            known_hosts=None,
            username="u",
            config=None,
            client_keys=None,
        ) as connection,
        connection.start_sftp_client() as sftp,
    ):
        yield sftp


def file_of(size: int) -> asyncssh.SFTPAttrs:
    return asyncssh.SFTPAttrs(permissions=FILE, size=size)


def folder_with_a_file(path: bytes) -> asyncssh.SFTPAttrs:
    return file_of(4) if path.endswith(b"data") else asyncssh.SFTPAttrs(permissions=FOLDER)


def written(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("name", [b"../../../data", b"/etc/data", b"a/data", b"", b"d\0ata"])
@pytest.mark.parametrize("pattern", ["results", "results/*", "**"])
async def test_a_name_that_is_none_is_refused(tmp_path: Path, name: bytes, pattern: str) -> None:
    async with liar(kinds=folder_with_a_file, names=lambda _: [name]) as sftp:
        with pytest.raises((StagingRefused, asyncssh.SFTPError)):
            await outputs.download(sftp, "/home/u", [pattern], tmp_path / "a/b/files", 100)
    assert written(tmp_path) == []


async def test_no_more_comes_home_than_was_counted_and_no_special_mode(tmp_path: Path) -> None:
    async with liar(kinds=folder_with_a_file) as sftp:
        found = await outputs.download(sftp, "/home/u", ["data"], tmp_path / "files", 4)
    assert found.files == [PurePosixPath("data")]
    assert (tmp_path / "files/data").read_bytes() == b"0123"
    assert (tmp_path / "files/data").stat().st_mode & 0o7777 == 0o757
    assert written(tmp_path) == ["files/data"]


async def test_folders_without_end_are_refused(tmp_path: Path) -> None:
    async with liar(names=lambda _: [b"d"]) as sftp:
        with pytest.raises(StagingRefused, match="64 folders deep"):
            await outputs.download(sftp, "/home/u", ["**"], tmp_path / "files", 4)


async def test_a_folder_of_more_files_than_may_come_home_is_refused(tmp_path: Path) -> None:
    async with liar(kinds=folder_with_a_file, names=lambda _: [b"%d" % n for n in range(11)]) as s:
        with pytest.raises(StagingRefused) as caught:
            await outputs.download(s, "/home/u", ["*"], tmp_path / "files", 4, most=10)
    assert caught.value.reason == "outputs_too_many"
    assert "max_output_files" in caught.value.hint
    assert written(tmp_path) == []


async def test_a_file_of_a_terabyte_without_content_is_refused(tmp_path: Path) -> None:
    async with liar(kinds=lambda _: file_of(2**40)) as sftp:
        with pytest.raises(StagingRefused) as caught:
            await outputs.download(sftp, "/home/u", ["sparse"], tmp_path / "files", 2**20)
    assert caught.value.reason == "outputs_too_large"
    assert written(tmp_path) == []


async def test_a_name_that_is_not_utf8_is_refused_and_shown(tmp_path: Path) -> None:
    async with liar(kinds=lambda p: file_of(4) if b"\xff" in p else FOLDERS) as sftp:
        with pytest.raises(StagingRefused, match=r"'a\\udcff' has a name that is not UTF-8"):
            await outputs.download(sftp, "/home/u", [os.fsdecode(b"a\xff")], tmp_path / "f", 9)


async def test_a_link_at_the_core_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "files").mkdir()
    (tmp_path / "files/sub").symlink_to(tmp_path / "outside")
    async with liar(kinds=folder_with_a_file) as sftp:
        with pytest.raises(StagingRefused, match="cannot be kept"):
            await outputs.download(sftp, "/home/u", ["sub/data"], tmp_path / "files", 4)
    assert written(tmp_path) == []


async def test_a_log_is_read_up_to_its_limit_and_only_if_it_is_a_file() -> None:
    async with liar(kinds=folder_with_a_file) as sftp:
        assert await files.read(sftp, "/home/u/data", 1, 2) == b"12"
        assert await files.read(sftp, "/home/u/data", 0, None) == b"0123"
    fifo = asyncssh.SFTPAttrs(permissions=stat.S_IFIFO | 0o600, size=9)
    async with liar(kinds=lambda _: fifo) as sftp:
        assert await files.read(sftp, "/home/u/data", 0, None) == b""
        assert await files.size(sftp, "/home/u/data") == 0


async def test_a_node_that_never_answers_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "SILENCE", 0.1)
    never = asyncio.Event()

    async def silent(_: bytes) -> asyncssh.SFTPAttrs:
        await never.wait()
        return file_of(1)

    async with liar(kinds=silent) as sftp:
        with pytest.raises(asyncio.TimeoutError):
            await outputs.download(sftp, "/home/u", ["data"], tmp_path / "files", 4)
        never.set()
