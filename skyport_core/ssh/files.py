"""Files to and from a node by SFTP, with failures told apart."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import asyncssh

from .errors import DiskFull, StagingFailed, StagingRefused

READ_SIZE = 4 * 2**20


@dataclass(frozen=True)
class _Found:
    """A file on the node: bytes and permission bits."""

    size: int
    mode: int


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
    """
    await asyncio.gather(*(_write(sftp, file) for file in files))


async def _write(sftp: asyncssh.SFTPClient, file: Upload) -> None:
    attributes = asyncssh.SFTPAttrs(permissions=file.mode)
    async with sftp.open(file.path, "wb", attributes) as target:
        await target.write(file.data)
        # Overwriting leaves the old permissions, which may be wider.
        await target.chmod(file.mode)


async def read(sftp: asyncssh.SFTPClient, path: str, offset: int, limit: int | None) -> bytes:
    """Bytes of a file from ``offset`` on, at most ``limit``; empty if there is no such file."""
    try:
        async with sftp.open(path, "rb") as source:
            there = ((await source.stat()).size or 0) - offset
            count = there if limit is None else min(limit, there)
            return _bytes(await source.read(count, offset)) if count > 0 else b""
    except asyncssh.SFTPNoSuchFile:
        return b""


async def size(sftp: asyncssh.SFTPClient, path: str) -> int:
    """Size of a file in bytes; 0 if there is no such file."""
    try:
        return (await sftp.stat(path)).size or 0
    except asyncssh.SFTPNoSuchFile:
        return 0


async def download(
    sftp: asyncssh.SFTPClient,
    folder: str,
    patterns: Sequence[str],
    destination: Path,
    limit: int,
) -> list[PurePosixPath]:
    """Bring regular files below ``folder`` home, keeping their relative paths and modes.

    Links are followed only as far as they stay inside ``folder``; a folder that matches is
    brought as a whole.

    Parameters
    ----------
    patterns : sequence of str
        Shell patterns relative to ``folder``; ``**`` matches any depth.
    limit : int
        Bytes that all files together may have.

    Raises
    ------
    StagingFailed
        A pattern leaves the folder, or the files are larger than ``limit``.
    """
    for pattern in patterns:
        parts = PurePosixPath(pattern).parts
        if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
            raise StagingRefused(
                f"The output {pattern!r} is not a path below the working directory.",
                reason="unsafe_output",
            )
    base = str(await sftp.realpath(folder))
    found: dict[str, _Found] = {}
    for pattern in patterns:
        for name in await _matches(sftp, f"{base}/{pattern}"):
            await _gather_files(sftp, base, name, found)
            if sum(file.size for file in found.values()) > limit:
                raise StagingRefused(
                    f"The outputs are larger than {limit // 2**20} MiB.",
                    reason="outputs_too_large",
                    hint="Name fewer files as outputs, or have an admin raise the limit.",
                )
    done = []
    for path in sorted(found):
        relative = PurePosixPath(path).relative_to(base)
        await _fetch(sftp, path, destination.joinpath(*relative.parts), found[path])
        done.append(relative)
    return done


async def _matches(sftp: asyncssh.SFTPClient, pattern: str) -> list[str]:
    try:
        return [str(name) for name in await sftp.glob(pattern)]
    except asyncssh.SFTPNoSuchFile:
        return []


async def _gather_files(
    sftp: asyncssh.SFTPClient, base: str, path: str, found: dict[str, _Found]
) -> None:
    if path in found:
        return
    real = str(await sftp.realpath(path))
    if not real.startswith(f"{base}/"):
        return
    attributes = await sftp.stat(path)
    kind = stat.S_IFMT(attributes.permissions or 0)
    if kind == stat.S_IFREG:
        mode = stat.S_IMODE(attributes.permissions or 0o600) & 0o777
        found[path] = _Found(attributes.size or 0, mode)
    elif kind == stat.S_IFDIR and real == path:
        for entry in await sftp.listdir(path):
            if entry not in (".", ".."):
                await _gather_files(sftp, base, f"{path}/{entry}", found)


async def _fetch(sftp: asyncssh.SFTPClient, path: str, target: Path, found: _Found) -> None:
    """Copy one file; it appears whole or not at all, and never grows past what was counted."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.part")
    try:
        async with sftp.open(path, "rb") as source:
            with draft.open("wb") as file:
                position = 0
                while position < found.size:
                    count = min(READ_SIZE, found.size - position)
                    data = _bytes(await source.read(count, position))
                    if not data:
                        break
                    await asyncio.to_thread(file.write, data)
                    position += len(data)
        # The core itself must be able to read it.
        draft.chmod(found.mode | 0o400)
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)


async def restore(sftp: asyncssh.SFTPClient, source: Path, folder: str) -> int:
    """Bring what :func:`download` fetched back to a node, each file with its mode.

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
    files = await asyncio.to_thread(_regular_files, source)
    if not files:
        return 0
    await sftp.makedirs(folder, exist_ok=True)
    base = str(await sftp.realpath(folder))
    for parent in sorted({parent for path in files for parent in path.parents}):
        place = str(PurePosixPath(base, *parent.parts))
        await sftp.makedirs(place, exist_ok=True)
        if str(await sftp.realpath(place)) != place:
            raise StagingRefused(
                f"The folder {parent} of the working directory is a link that leads elsewhere.",
                reason="unsafe_output",
            )
    for path in files:
        await _put(sftp, source / path, str(PurePosixPath(base, *path.parts)))
    return len(files)


def total_size(source: Path) -> int:
    """Bytes that :func:`restore` would bring."""
    return sum((source / path).stat().st_size for path in _regular_files(source))


def _regular_files(source: Path) -> list[Path]:
    found = (path for path in source.rglob("*") if path.is_file() and not path.is_symlink())
    return sorted(path.relative_to(source) for path in found if not _is_draft(path))


def _is_draft(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".part")


async def _put(sftp: asyncssh.SFTPClient, source: Path, path: str) -> None:
    """Copy one file; it appears whole or not at all."""
    parent, _, name = path.rpartition("/")
    draft = f"{parent}/.{name}.part"
    attributes = asyncssh.SFTPAttrs(permissions=0o600)
    if await sftp.islink(draft):
        await sftp.remove(draft)
    async with sftp.open(draft, "wb", attributes) as target:
        with source.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            while data := await asyncio.to_thread(file.read, READ_SIZE):
                await target.write(data)
        await target.chmod(mode)
    await sftp.posix_rename(draft, path)


def _bytes(data: bytes | str) -> bytes:
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
