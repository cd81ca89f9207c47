"""What a job wrote to its log on its node, brought home by SFTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import BinaryIO

import asyncssh

from ..confined import open_draft
from .files import READ_SIZE, as_bytes, size, soon


async def fetch_log(sftp: asyncssh.SFTPClient, path: str, target: Path, limit: int) -> int:
    """Copy a log home; it appears whole or not at all, and for its owner only.

    Of one that is longer than ``limit`` bytes, the first and the last half of so many come home,
    and words of that stand between them and at the end.

    Returns
    -------
    int
        Bytes that it has on the node; 0 if there is none, or an empty one.

    Raises
    ------
    asyncio.TimeoutError
        The node does not answer.
    """
    there = await size(sftp, path)
    draft = target.with_name(f"{target.name}.part")
    try:
        with await asyncio.to_thread(open_draft, draft) as file:
            if there:
                await _fetch(sftp, path, file, there, limit)
        await asyncio.to_thread(draft.replace, target)
    finally:
        draft.unlink(missing_ok=True)
    return there


async def _fetch(
    sftp: asyncssh.SFTPClient, path: str, file: BinaryIO, there: int, limit: int
) -> None:
    source = await soon(sftp.open(path, "rb"))
    try:
        if there <= limit:
            await _copy(source, file, 0, there)
            return
        half = limit // 2
        await _copy(source, file, 0, half)
        file.write(b"\n[%d bytes are left out here]\n" % (there - 2 * half))
        await _copy(source, file, there - half, there)
        words = f"of {there} bytes, the first and the last {half} were kept"
        file.write(f"\n[This log is not whole: {words}]\n".encode())
    finally:
        await soon(source.close())


async def _copy(source: asyncssh.SFTPClientFile, file: BinaryIO, position: int, end: int) -> None:
    """Append the bytes from ``position`` to ``end``, as far as there are so many."""
    while position < end:
        count = min(READ_SIZE, end - position)
        data = as_bytes(await soon(source.read(count, position)))[:count]
        if not data:
            return
        await asyncio.to_thread(file.write, data)
        position += len(data)
