"""Calls that move files: inputs to a job, results from it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import uuid
from collections.abc import AsyncGenerator, Callable
from functools import partial
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import aiohttp

from ..wire import FileList
from .calls import Calls, job_path
from .errors import CoreUnavailable, FileTrouble, Untrusted
from .pauses import Pauses

PIECE = 2**20
"""Bytes that are read from the disk at a time."""

Progress = Callable[[int, int | None], None]
"""Called with the bytes that went over so far, and how many there are in all (None: not known)."""

T = TypeVar("T")


class FileCalls(Calls):
    """List, upload and download the files of jobs."""

    async def files(self, job_id: str, *, wait: float = 0) -> FileList:
        """The files of a job that are at the core, and the inputs that it still waits for."""
        path = job_path(job_id, "files")
        return await self._transport.fetch(FileList, "GET", path, wait=wait)

    async def upload(
        self,
        job_id: str,
        name: str,
        source: str | os.PathLike[str] | bytes,
        *,
        progress: Progress | None = None,
        wait: float = 0,
    ) -> None:
        """Give a job one of the inputs that it waits for, streamed from the disk.

        Safe to try again: the file appears whole or not at all, and the same one twice is one.

        Parameters
        ----------
        name : str
            As it stands in the job's ``inputs``.
        source : path or bytes
            The file, or what shall stand in it. The permission bits of a file go along.
        progress : callable, optional
            Told how far it is; starts again at 0 when it is tried again.

        Raises
        ------
        FileTrouble
            The file cannot be read here.
        """
        path = job_path(job_id, "inputs", quote(name))
        content = source if isinstance(source, bytes) else Path(source)
        size, mode = await asyncio.to_thread(_look, content)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        headers["X-Skyport-Mode"] = f"{mode:o}"
        headers["Repr-Digest"] = await asyncio.to_thread(_digest, content)
        trouble: list[FileTrouble] = []

        async def data() -> AsyncGenerator[bytes, None]:
            try:
                async with contextlib.aclosing(_pieces(content, size, progress)) as pieces:
                    async for piece in pieces:
                        yield piece
            except FileTrouble as error:
                trouble.append(error)
                raise

        async def once() -> None:
            # Limited by silence, not by its whole length: the file may be of any size.
            timeout = self._transport.streaming(None)
            try:
                async with self._transport.response("PUT", path, (), data, headers, timeout):
                    return
            except CoreUnavailable:
                if trouble:
                    raise trouble[0] from None
                raise

        await self._transport.again(once, wait=wait)

    async def download(
        self,
        job_id: str,
        name: str,
        target: str | os.PathLike[str],
        *,
        progress: Progress | None = None,
        wait: float = 60.0,
    ) -> None:
        """Bring a result home, streamed to the disk; it appears whole or not at all.

        A broken connection is made again and the transfer goes on where it broke, unless the file
        has changed meanwhile.

        Parameters
        ----------
        name : str
            As it stands in :meth:`files`.
        target : path
            Where it goes; folders are made, a file that is there is replaced.
        wait : float
            Seconds that the core may be away at a time before CoreUnavailable is raised.

        Raises
        ------
        FileTrouble
            The file cannot be written here.
        """
        path = Path(target)
        draft = path.with_name(f".skyport-{uuid.uuid4().hex}.part")
        transfer = _Download(draft, progress)
        try:
            await _locally(path, lambda: _prepare(path))
            await self._receive(job_path(job_id, "files", quote(name)), transfer, wait)
            await _locally(path, lambda: transfer.finish(path))
        finally:
            transfer.drop()

    async def _receive(self, path: str, transfer: _Download, wait: float) -> None:
        pauses = Pauses(wait)
        while True:
            reached = False
            headers = transfer.headers()
            try:
                async with self._transport.response(
                    "GET", path, headers=headers, timeout=self._transport.streaming()
                ) as response:
                    reached = True
                    await transfer.take(response)
                return
            except Untrusted:
                raise
            except CoreUnavailable:
                if reached:
                    pauses.restart()
                if pauses.over:
                    raise
            await pauses.sleep()


class _Download:
    """A file on its way in, in a hidden file beside its place."""

    def __init__(self, draft: Path, progress: Progress | None) -> None:
        self._draft = draft
        self._progress = progress
        self._file: BinaryIO | None = None
        self._tag: str | None = None
        self._size = 0

    def headers(self) -> dict[str, str]:
        """Ask for what is still missing, of the same version of the file only."""
        if not (self._size and self._tag):
            return {}
        return {"Range": f"bytes={self._size}-", "If-Range": self._tag}

    async def take(self, response: aiohttp.ClientResponse) -> None:
        """Append, or begin again when the answer is the whole file."""
        if self._file is None:
            self._file = await _locally(self._draft, lambda: self._draft.open("xb", buffering=0))
        file = self._file
        if response.status != 206 and self._size:
            self._size = 0
            await _locally(self._draft, lambda: _empty(file))
        self._tag = response.headers.get("ETag")
        whole = None if response.content_length is None else self._size + response.content_length
        async for data in response.content.iter_chunked(PIECE):
            await _locally(self._draft, partial(_write, file, data))
            self._size += len(data)
            if self._progress:
                self._progress(self._size, whole)

    def finish(self, path: Path) -> None:
        """Give it its place, durably."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
        os.replace(self._draft, path)  # noqa: PTH105 - in one step, over what is there

    def drop(self) -> None:
        """Remove what is left of it; nothing once it has its place."""
        if self._file is not None:
            self._file.close()
        with contextlib.suppress(OSError):
            self._draft.unlink()


async def _locally(path: Path, work: Callable[[], T]) -> T:
    """Do something with a file in a thread; what the disk refuses is our own FileTrouble."""
    try:
        return await asyncio.to_thread(work)
    except OSError as error:
        raise FileTrouble(path, error) from error


async def _pieces(
    content: Path | bytes, size: int, progress: Progress | None
) -> AsyncGenerator[bytes, None]:
    sent = 0
    if progress:
        progress(0, size)
    if isinstance(content, bytes):
        for start in range(0, size, PIECE):
            yield content[start : start + PIECE]
            sent = min(start + PIECE, size)
            if progress:
                progress(sent, size)
        return
    with await _locally(content, lambda: content.open("rb")) as file:
        while sent < size:
            piece = await _locally(content, partial(file.read, min(PIECE, size - sent)))
            if not piece:
                raise FileTrouble(content, OSError(0, "it became shorter while it was sent"))
            yield piece
            sent += len(piece)
            if progress:
                progress(sent, size)


def _look(content: Path | bytes) -> tuple[int, int]:
    """Size and permission bits."""
    if isinstance(content, bytes):
        return len(content), 0o600
    try:
        status = content.stat()
    except OSError as error:
        raise FileTrouble(content, error) from error
    return status.st_size, status.st_mode & 0o777


def _digest(content: Path | bytes) -> str:
    """SHA-256 as a ``Repr-Digest`` (RFC 9530)."""
    digest = hashlib.sha256()
    if isinstance(content, bytes):
        digest.update(content)
    else:
        try:
            with content.open("rb") as file:
                while piece := file.read(PIECE):
                    digest.update(piece)
        except OSError as error:
            raise FileTrouble(content, error) from error
    return f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"


def _prepare(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        raise IsADirectoryError(0, "it is a folder")


def _empty(file: BinaryIO) -> None:
    file.seek(0)
    file.truncate()


def _write(file: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
