"""What a job left on its node, brought home by SFTP.

The node's owner may be the user, who may also run an SFTP server of his own there: what it says of
names, sizes, links and kinds is taken for what it costs the core to be wrong about it. A name that
could lead out of a folder is refused, all is counted, and each file is written from folder to
folder below its place, never through a link.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import asyncssh

from ..confined import move_in, open_draft
from .errors import StagingRefused
from .files import as_bytes, pieces, soon

MAX_ENTRIES = 100_000
"""Files and folders that are looked at for the outputs of one job, unless it is told otherwise."""

MAX_DEPTH = 64
"""Folders that an output may be below the working directory."""

MAX_PATH = 1024
"""Bytes of an output's path below the working directory."""

_MAX_NAME = 255
_WILD = re.compile(r"[*?\[]")
_ABSENT = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath, asyncssh.SFTPPermissionDenied)
_NAME_ERRORS = frozenset(
    {
        errno.EEXIST,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOTDIR,
        errno.ENOTEMPTY,
    }
)

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Brought:
    """What came home.

    Attributes
    ----------
    files
        Paths below the folder.
    missing
        The patterns that no file was found for.
    """

    files: list[PurePosixPath]
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """A file on the node: bytes and permission bits."""

    size: int
    mode: int


async def download(
    sftp: asyncssh.SFTPClient,
    folder: str,
    patterns: Sequence[str],
    destination: Path,
    limit: int,
    *,
    most: int = MAX_ENTRIES,
) -> Brought:
    """Bring regular files below ``folder`` home, keeping their relative paths and modes.

    Links are followed only as far as they stay inside ``folder``; a folder that matches is
    brought as a whole. Of the modes only the nine permission bits are kept.

    Parameters
    ----------
    patterns : sequence of str
        Shell patterns relative to ``folder``; ``**`` matches any depth.
    destination : Path
        Folder at the core; made if missing. Beside it, a hidden file is used meanwhile.
    limit : int
        Bytes that all files together may have.
    most : int
        Files and folders that may be where they are looked for.

    Raises
    ------
    StagingRefused
        A pattern leaves the folder, the files are too large or too many, or the node offers a
        name that is none.
    asyncio.TimeoutError
        The node does not answer.
    """
    wanted = [_parts(pattern) for pattern in patterns]
    base = as_bytes(await soon(sftp.realpath(folder.encode())))
    search = _Search(sftp, base, limit, most)
    there = [await search.match((), parts) for parts in wanted]
    draft = destination.with_name(f".{destination.name}.part")
    for path, found in sorted(search.found.items()):
        async with _drafted(draft, destination, path) as file:
            await _copy(sftp, search.path(path), file, found)
    return Brought(
        [PurePosixPath(*path) for path in sorted(search.found)],
        tuple(pattern for pattern, found in zip(patterns, there, strict=True) if not found),
    )


def _parts(pattern: str) -> Parts:
    parts = PurePosixPath(pattern).parts
    if not parts or pattern.startswith("/") or ".." in parts or "\0" in pattern:
        raise StagingRefused(
            f"The output {pattern!r} is not a path below the working directory.",
            reason="unsafe_output",
        )
    return parts


class _Search:
    """Looks for regular files below one folder of the node.

    Attributes
    ----------
    found : dict
        What was found so far, by the parts of its path below the folder.
    """

    def __init__(self, sftp: asyncssh.SFTPClient, base: bytes, limit: int, most: int) -> None:
        self.found: dict[Parts, _Found] = {}
        self._sftp = sftp
        self._base = base.rstrip(b"/")
        self._limit = limit
        self._most = most
        self._bytes = 0
        self._entries = 0
        self._listed: dict[Parts, dict[str, bool]] = {}
        self._tried: dict[tuple[Parts, Parts], bool] = {}

    def path(self, parts: Parts) -> bytes:
        """Where it is on the node."""
        return b"/".join((self._base, *map(_encoded, parts))) or b"/"

    async def match(self, parts: Parts, pattern: Parts) -> bool:
        """Take what ``pattern`` matches below the folder ``parts``; whether there is a file."""
        known = self._tried.get((parts, pattern))
        if known is None:
            known = await (self._match(parts, pattern) if pattern else self._take(parts))
            self._tried[parts, pattern] = known
        return known

    async def _match(self, parts: Parts, pattern: Parts) -> bool:
        first, rest = pattern[0], pattern[1:]
        found = False
        if first == "**":
            found = await self.match(parts, rest)
            for name, is_folder in (await self._names(parts)).items() if rest else ():
                if is_folder:
                    found |= await self.match((*parts, name), pattern)
        elif _WILD.search(first):
            for name, is_folder in (await self._names(parts)).items():
                if fnmatchcase(name, first) and (is_folder or not rest):
                    found |= await self.match((*parts, name), rest)
        else:
            found = await self.match((*parts, first), rest)
        return found

    async def _take(self, parts: Parts) -> bool:
        """Take a file, or all files below a folder that is no link; whether there was one."""
        if parts in self.found:
            return True
        _check(parts)
        real, attributes = await self._look(parts)
        kind = stat.S_IFMT(attributes.permissions or 0)
        if kind == stat.S_IFREG and parts:
            self._count(attributes.size or 0)
            mode = stat.S_IMODE(attributes.permissions or 0o600) & 0o777
            self.found[parts] = _Found(attributes.size or 0, mode)
            return True
        found = False
        if kind == stat.S_IFDIR and real == self.path(parts):
            for name in await self._names(parts):
                found |= await self._take((*parts, name))
        return found

    async def _look(self, parts: Parts) -> tuple[bytes, asyncssh.SFTPAttrs]:
        """Its real path and attributes; these are empty for what is absent or leads outside."""
        path = self.path(parts)
        with suppress(*_ABSENT):
            real = as_bytes(await soon(self._sftp.realpath(path)))
            if f"{_shown(real)}/".startswith(f"{_shown(self._base)}/"):
                return real, await soon(self._sftp.stat(path))
        return b"", asyncssh.SFTPAttrs()

    async def _names(self, parts: Parts) -> dict[str, bool]:
        """What is in a folder: names, and whether they are folders and no links."""
        known = self._listed.get(parts)
        if known is None:
            _, attributes = await self._look(parts)
            is_folder = stat.S_ISDIR(attributes.permissions or 0)
            known = self._listed[parts] = await soon(self._list(parts)) if is_folder else {}
        return known

    async def _list(self, parts: Parts) -> dict[str, bool]:
        names: dict[str, bool] = {}
        if len(parts) >= MAX_DEPTH:
            raise _refused(parts, f"is more than {MAX_DEPTH} folders deep")
        with suppress(*_ABSENT):
            async for entry in self._sftp.scandir(self.path(parts)):
                name = as_bytes(entry.filename)
                if name in (b".", b".."):
                    continue
                if not name or len(name) > _MAX_NAME or b"/" in name or b"\0" in name:
                    raise _refused(parts, f"lists {_shown(name)[:200]!r}, which is no file's name")
                self._entries += 1
                if self._entries > self._most:
                    raise StagingRefused(
                        f"More than {self._most} files are where the outputs are looked for.",
                        reason="outputs_too_many",
                        hint="Pack them into an archive, name fewer folders as outputs, or have "
                        "an admin raise max_output_files.",
                    )
                names[_shown(name)] = stat.S_ISDIR(entry.attrs.permissions or 0)
        return names

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limit:
            raise StagingRefused(
                f"The outputs are larger than {self._limit // 2**20} MiB.",
                reason="outputs_too_large",
                hint="Name fewer files as outputs, or have an admin raise max_output.",
            )


def _check(parts: Parts) -> None:
    """Refuse a name that cannot be shown or kept at the core."""
    path = "/".join(parts)
    if any("\ud800" <= char <= "\udfff" for char in path):
        raise _refused(parts, "has a name that is not UTF-8")
    if len(path.encode()) > MAX_PATH:
        raise _refused(parts, f"has a path of more than {MAX_PATH} bytes")


def _refused(parts: Parts, why: str) -> StagingRefused:
    name = "/".join(parts)[:200] or "."
    return StagingRefused(f"The output {name!r} {why}.", reason="unsafe_output")


@asynccontextmanager
async def _drafted(draft: Path, destination: Path, parts: Parts) -> AsyncIterator[BinaryIO]:
    """A new file which gets its place when it is whole."""
    try:
        with await asyncio.to_thread(open_draft, draft) as file:
            yield file
        await asyncio.to_thread(move_in, draft, destination, "/".join(parts))
    except OSError as error:
        if error.errno in _NAME_ERRORS:
            raise _refused(parts, f"cannot be kept at the core: {error.strerror}") from error
        raise
    finally:
        await asyncio.to_thread(draft.unlink, missing_ok=True)


async def _copy(sftp: asyncssh.SFTPClient, path: bytes, file: BinaryIO, found: _Found) -> None:
    """Copy what was counted, even if there is more by now."""
    source = await soon(sftp.open(path, "rb"))
    try:
        async for data in pieces(source, 0, found.size):
            await asyncio.to_thread(file.write, data)
    finally:
        await soon(source.close())
    # The core itself must be able to read it.
    os.fchmod(file.fileno(), found.mode | 0o400)


def _encoded(name: str) -> bytes:
    return name.encode(errors="surrogateescape")


def _shown(name: bytes) -> str:
    return name.decode(errors="surrogateescape")
