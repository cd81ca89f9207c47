"""An input of a job on its way to the core's disk."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
from pathlib import Path
from typing import BinaryIO, Protocol

from ..confined import open_draft
from ..model import Job
from ..service import ServiceError
from ..wire import FileView

BATCH = 2**20
"""Bytes that are gathered before they are written, in a thread."""

_NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
_ROOM_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class Files(Protocol):
    """The place that uploads go to."""

    def check_room(self, upload: Upload) -> None:
        """Refuse what goes beyond the room that there is. ServiceError 413."""

    async def arrived(self, upload: Upload, draft: Path) -> tuple[FileView, bool]:
        """Give an upload its place, if its job still waits; the file, and whether it is new."""

    def ended(self, upload: Upload) -> None:
        """An upload is over, whatever came of it."""


class Upload:
    """An input on its way in; :meth:`finish` or :meth:`abort` ends it.

    Until it is finished, nothing of it can be seen.
    """

    def __init__(
        self, files: Files, draft: Path, job: Job, path: str, mode: int, size: int
    ) -> None:
        self.job = job
        self.path = path
        self.mode = mode
        self.reserved = size
        self.beside = 0
        self.elsewhere = 0
        self.draft = draft
        self._files = files
        self._size = 0
        self._waiting = bytearray()
        self._file: BinaryIO | None = None
        self._digest = hashlib.sha256()
        self._lock = asyncio.Lock()
        self._over = False

    async def write(self, data: bytes) -> None:
        """Take in more; returns once there is room for what comes next. ServiceError 413, 507."""
        self._size += len(data)
        self.reserved = max(self.reserved, self._size)
        self._files.check_room(self)
        self._waiting += data
        if len(self._waiting) >= BATCH:
            await self._write_out()

    async def finish(self, digest: bytes | None = None) -> tuple[FileView, bool]:
        """Put the file into its place: what it is now, and whether it is new there.

        Raises
        ------
        ServiceError
            409: the job waits no more; 422: the SHA-256 ``digest`` is that of other bytes, or the
            name cannot be a file's; 507: no room.
        """
        try:
            await self._write_out()
            if digest is not None and digest != self._digest.digest():
                message = (
                    f"{self.path}: the SHA-256 of the {self._size} bytes that arrived is not the "
                    "one in Repr-Digest; send the file again"
                )
                raise ServiceError(message, code="digest", status=422, field="Repr-Digest")
            async with self._lock:
                self._close()
                return await self._files.arrived(self, self.draft)
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Drop it; nothing happens once it has ended."""
        async with self._lock:
            self._over = True
            self._waiting.clear()
            self._files.ended(self)
            with contextlib.suppress(OSError):
                self._close()
            with contextlib.suppress(OSError):
                self.draft.unlink()

    async def _write_out(self) -> None:
        async with self._lock:
            if self._over:
                raise ServiceError("The upload was broken off.", code="aborted", status=409)
            data, self._waiting = bytes(self._waiting), bytearray()
            try:
                await asyncio.to_thread(self._write, data)
            except OSError as error:
                raise explained(error, self.path) from error

    def _write(self, data: bytes) -> None:
        if self._file is None:
            self._file = open_draft(self.draft)
        self._digest.update(data)
        self._file.write(data)
        self._file.flush()

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            file.close()


def explained(error: OSError, path: str) -> ServiceError:
    """What is wrong with a file, or with the core's disk; raises what is neither's fault."""
    if error.errno in _ROOM_ERRORS:
        return ServiceError("The core has no room left for files.", code="no_room", status=507)
    if error.errno in _NAME_ERRORS:
        message = f"{path[:200]!r} cannot be the name of a file here: {error.strerror}"
        return ServiceError(message, code="invalid", status=422, field="path")
    raise error
