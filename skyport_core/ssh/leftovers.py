"""Files on a node that nobody named as a result."""

from __future__ import annotations

import stat
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

import asyncssh

from .files import as_bytes, soon
from .outputs import MAX_DEPTH

MAX_LOOKED = 1000
"""Files and folders that are looked at: they are only told of."""

PATIENCE = 10.0
"""Seconds to look for them."""


@dataclass(frozen=True)
class Leftovers:
    """What was found.

    Attributes
    ----------
    names
        Relative paths, sorted; what cannot be shown in them is replaced.
    whole
        False: there may be more.
    """

    names: tuple[str, ...] = ()
    whole: bool = True


async def leftovers(sftp: asyncssh.SFTPClient, folder: str, known: Collection[str]) -> Leftovers:
    """The files and links below a folder but those that are ``known``; links are not followed.

    Raises
    ------
    asyncio.TimeoutError
        The node does not answer.
    """
    names: list[str] = []
    looked, until = 0, time.monotonic() + PATIENCE
    waiting: list[tuple[str, ...]] = [()] if await soon(sftp.isdir(folder)) else []
    while waiting:
        parts = waiting.pop()
        for name, is_folder in await soon(_entries(sftp, "/".join((folder, *parts)))):
            looked += 1
            if looked > MAX_LOOKED or time.monotonic() > until:
                return Leftovers(tuple(sorted(names)), whole=False)
            path = (*parts, name)
            if is_folder and len(path) < MAX_DEPTH:
                waiting.append(path)
            elif not is_folder and "/".join(path) not in known:
                names.append(_printable("/".join(path)))
    return Leftovers(tuple(sorted(names)))


async def _entries(sftp: asyncssh.SFTPClient, folder: str) -> list[tuple[str, bool]]:
    """Names in a folder, and whether they are folders themselves; no more than are looked at."""
    found: list[tuple[str, bool]] = []
    with suppress(asyncssh.SFTPNoSuchFile, asyncssh.SFTPPermissionDenied):
        async for entry in sftp.scandir(folder.encode(errors="surrogateescape")):
            name = as_bytes(entry.filename).decode(errors="surrogateescape")
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                continue
            found.append((name, stat.S_ISDIR(entry.attrs.permissions or 0)))
            if len(found) > MAX_LOOKED:
                break
    return found


def _printable(path: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in path)
