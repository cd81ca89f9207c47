"""Files to a node and logs from it by SFTP, with failures told apart."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeVar

import asyncssh

from skyport_gates.timing import in_time

from ..confined import open_file, walk_files
from .errors import DiskFull, StagingFailed, StagingRefused

READ_SIZE = 4 * 2**20

DRAFT = ".skyport.part"
"""Name of a file on its way to a node, in the folder where it is to be."""

SILENCE = 120.0
"""Seconds that one request to a node may take, of at most :data:`READ_SIZE` bytes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """A file to write on the node: absolute path, permission bits, content."""

    path: str
    mode: int
    data: bytes


async def upload(sftp: asyncssh.SFTPClient, files: Iterable[Upload]) -> None:
    """Write files side by side; the folders above them must exist.

    Raises
    ------
    asyncssh.SFTPError
        As the node told it; see :func:`explained` for its meaning.
    asyncio.TimeoutError
        The node does not answer.
    """
    await asyncio.gather(*(_write(sftp, file) for file in files))


async def _write(sftp: asyncssh.SFTPClient, file: Upload) -> None:
    attributes = asyncssh.SFTPAttrs(permissions=file.mode)
    target = await soon(sftp.open(file.path, "wb", attributes))
    try:
        for start in range(0, len(file.data), READ_SIZE):
            await soon(target.write(file.data[start : start + READ_SIZE]))
        # Overwriting leaves the old permissions, which may be wider.
        await soon(target.chmod(file.mode))
    finally:
        await soon(target.close())


async def read(sftp: asyncssh.SFTPClient, path: str, offset: int, limit: int | None) -> bytes:
    """Bytes of a file from ``offset`` on, at most ``limit``; empty if there is no such file.

    What is no regular file is none: to open a FIFO would wait for one who writes to it.

    Raises
    ------
    asyncio.TimeoutError
        The node does not answer.
    """
    there = await size(sftp, path) - offset
    if there <= 0:
        return b""
    count = there if limit is None else min(limit, there)
    try:
        source = await soon(sftp.open(path, "rb"))
    except asyncssh.SFTPNoSuchFile:
        return b""
    try:
        return b"".join([data async for data in pieces(source, offset, count)])
    finally:
        await soon(source.close())


async def pieces(source: asyncssh.SFTPClientFile, offset: int, count: int) -> AsyncIterator[bytes]:
    """At most ``count`` bytes from ``offset`` on, also from a node that sends more."""
    end = offset + count
    while offset < end:
        wanted = min(READ_SIZE, end - offset)
        data = as_bytes(await soon(source.read(wanted, offset)))[:wanted]
        if not data:
            return
        yield data
        offset += len(data)


async def size(sftp: asyncssh.SFTPClient, path: str) -> int:
    """Size of a regular file in bytes; 0 if there is no such file. TimeoutError as :func:`read`."""
    try:
        found = await soon(sftp.stat(path))
    except asyncssh.SFTPNoSuchFile:
        return 0
    return (found.size or 0) if stat.S_ISREG(found.permissions or 0) else 0


async def soon(work: Awaitable[T]) -> T:
    """The answer of a node. Raises asyncio.TimeoutError when it is silent for too long."""
    return await in_time(work, SILENCE)


async def restore(sftp: asyncssh.SFTPClient, source: Path, folder: str) -> int:
    """Bring what :func:`~.outputs.download` fetched back to a node, each file with its mode.

    Links on the node are replaced, not followed: nothing outside ``folder`` is touched.

    Parameters
    ----------
    source : Path
        Folder at the core; only regular files in it count.
    folder : str
        Folder on the node; made if missing.

    Returns
    -------
    int
        How many files were brought.

    Raises
    ------
    StagingFailed
        A folder on the node is a link that leads elsewhere.
    """
    files = [PurePosixPath(name) for name in await asyncio.to_thread(_regular_files, source)]
    if not files:
        return 0
    await soon(sftp.makedirs(folder, exist_ok=True))
    base = str(await soon(sftp.realpath(folder)))
    for parent in sorted({parent for path in files for parent in path.parents}):
        place = str(PurePosixPath(base, *parent.parts))
        await soon(sftp.makedirs(place, exist_ok=True))
        if str(await soon(sftp.realpath(place))) != place:
            raise StagingRefused(
                f"The folder {parent} of the working directory is a link that leads elsewhere.",
                reason="unsafe_output",
            )
    for path in files:
        await _put(sftp, source, str(path), str(PurePosixPath(base, path)))
    return len(files)


def total_size(source: Path) -> int:
    """Bytes that :func:`restore` would bring."""
    return sum(_regular_files(source).values())


def _regular_files(source: Path) -> dict[str, int]:
    """Names and bytes."""
    return {name: found.st_size for name, found in walk_files(source)}


async def _put(sftp: asyncssh.SFTPClient, source: Path, name: str, path: str) -> None:
    """Copy one file; it appears whole or not at all."""
    draft = f"{path.rpartition('/')[0]}/{DRAFT}"
    # What was left there, or planted: a link, or a FIFO that would hold up who opens it.
    with suppress(asyncssh.SFTPNoSuchFile):
        await soon(sftp.remove(draft))
    with os.fdopen(await asyncio.to_thread(open_file, source, name), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        target = await soon(sftp.open(draft, "xb", asyncssh.SFTPAttrs(permissions=0o600)))
        try:
            while data := await asyncio.to_thread(file.read, READ_SIZE):
                await soon(target.write(data))
            await soon(target.chmod(mode))
        finally:
            await soon(target.close())
    await soon(sftp.posix_rename(draft, path))


def as_bytes(data: bytes | str) -> bytes:
    """What a file opened without an encoding gives, told to the type checker."""
    return data if isinstance(data, bytes) else data.encode()


@contextmanager
def explained(where: str) -> Iterator[None]:
    """Turn what SFTP says into the errors of this package.

    ``SFTPFailure`` passes through: OpenSSH uses it for a full disk and for much else, and only
    its caller can look closer.
    """
    try:
        yield
    except (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded) as error:
        raise disk_full(where) from error
    except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost, asyncssh.SFTPFailure):
        raise
    except asyncssh.SFTPError as error:
        raise StagingFailed(
            f"A file transfer with {where} failed: {error.reason}.",
            hint="Check the permissions of the login's home on the node.",
        ) from error


def disk_full(where: str) -> DiskFull:
    """The error for a node without room."""
    return DiskFull(
        f"The home of {where} has no room left, or its quota is used up.",
        hint="Remove files there, or choose another node.",
    )
