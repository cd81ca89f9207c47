"""The files of jobs at the core: inputs that terminals upload, outputs that came home.

Below the job's folder at the core, ``inputs`` holds what was uploaded, ``files`` what came home,
and ``uploads`` what is on its way and is worth nothing after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection
from pathlib import Path
from typing import BinaryIO

from ..confined import (
    find_file,
    make_private,
    move_in,
    move_out,
    open_draft,
    open_file,
    remove_file,
    walk_files,
)
from ..model import EventDraft, Job
from ..outputs import INPUTS, MARK, OUTPUTS, UPLOADS, output_folder
from ..service import OpenFile, ServiceError
from ..store import Conflict, Store
from ..wire import FileList, FileView
from .inputs import check_named, check_waiting, missing_files
from .shares import InputTotals

BATCH = 2**20
"""Bytes that are gathered before they are written, in a thread."""

_NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP})
_ROOM_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class JobFiles:
    """The files of all jobs, as ``api.services.FileService`` describes it.

    Parameters
    ----------
    store
        Tells whether a job still waits in the queue.
    home
        Folder of the core's state.
    max_input
        Bytes that all inputs of one job may have together.
    replan
        Called when the last input of a job has arrived.
    max_total
        Bytes that the inputs of all jobs of an owner may have together; 0: any number.
    """

    def __init__(
        self,
        store: Store,
        home: Path,
        max_input: int,
        replan: Callable[[], None],
        *,
        max_total: int = 0,
    ) -> None:
        self.max_input = max_input
        self._max_total = max_total
        self._totals = InputTotals(store, home)
        self._store = store
        self._home = home
        self._replan = replan
        self._missing: dict[str, tuple[str, ...]] = {}
        self._changes = 0
        self._uploads: set[Upload] = set()
        self._aside: set[Path] = set()

    # -- what the queue asks -------------------------------------------------------------------

    async def missing_inputs(self, job: Job) -> list[str]:
        """Names of the inputs that the job still waits for.

        Looked up on the disk once a job; after that it is remembered.
        """
        if not job.spec.inputs:
            return []
        known = self._missing.get(job.id)
        while known is None:
            changes = self._changes
            known = await asyncio.to_thread(missing_files, self._folder(job.id), job)
            if changes == self._changes:
                self._missing[job.id] = known
        return list(known)

    async def remove_files(self, job_id: str) -> None:
        """Remove all files of a job, its logs too; nothing happens if there are none."""
        for upload in [upload for upload in self._uploads if upload.job.id == job_id]:
            await upload.abort()
        self.forget(job_id)
        await asyncio.to_thread(_remove_tree, self._folder(job_id))

    def forget(self, job_id: str) -> None:
        """The job left the queue for good: its inputs need not be remembered any more."""
        self._missing.pop(job_id, None)

    def forget_others(self, queue: Collection[str]) -> None:
        """Remember nothing of jobs that are not in the queue."""
        for job_id in self._missing.keys() - queue:
            del self._missing[job_id]

    # -- what terminals ask --------------------------------------------------------------------

    async def files(self, job: Job) -> FileList:
        """The inputs and outputs of a job that are at the core."""
        views, whole = await asyncio.to_thread(self._views, job)
        missing = await self.missing_inputs(job)
        return FileList(files=views, missing=missing, complete=job.state.final and whole)

    async def upload(self, job: Job, path: str, mode: int, size: int | None) -> Upload:
        """Begin to take in an input.

        Parameters
        ----------
        mode
            Permission bits that the file gets on the node.
        size
            Its bytes, if they are known.

        Raises
        ------
        ServiceError
            404: no input of the job; 409: the job waits for none any more; 413: too large.
        """
        check_waiting(job)
        check_named(job, path)
        upload = Upload(self, job, path, mode, size or 0)
        upload.beside = await asyncio.to_thread(self._taken, job, path)
        if self._max_total:
            upload.elsewhere = await self._totals.beside(job)
            if self._over_total(upload):
                upload.elsewhere = await self._totals.beside(job, fresh=True)
        self._check_room(upload)
        self._uploads.add(upload)
        return upload

    async def remove_input(self, job: Job, path: str) -> None:
        """Remove an input, which the job then waits for. ServiceError as :meth:`upload`.

        The file is back when the job has got a place meanwhile.
        """
        check_waiting(job)
        check_named(job, path)
        folder = self._folder(job.id)
        aside = folder / UPLOADS / uuid.uuid4().hex
        self._aside.add(aside)
        try:
            if await asyncio.to_thread(_put_aside, folder / INPUTS, path, aside):
                await self._removed(job.id, path, aside)
        finally:
            self._aside.discard(aside)
        self._replan()

    async def open_input(self, job: Job, path: str) -> OpenFile:
        """An input to read. ServiceError 404 if it is not there."""
        return await self._open(job, INPUTS, path)

    async def open_output(self, job: Job, path: str) -> OpenFile:
        """A file that came home, to read. ServiceError 404 if it is not there."""
        return await self._open(job, OUTPUTS, path)

    # -- inside --------------------------------------------------------------------------------

    def _misses(self, job_id: str) -> None:
        """What was known of the job's inputs holds no more."""
        self._changes += 1
        self._missing.pop(job_id, None)

    async def _removed(self, job_id: str, path: str, aside: Path) -> None:
        """Let an input that was put aside go, if its job still waits."""
        self._misses(job_id)
        try:
            await self._tell_removed(job_id, path)
        except BaseException:
            folder = self._folder(job_id) / INPUTS
            await asyncio.to_thread(move_in, aside, folder, path)
            self._misses(job_id)
            raise
        await asyncio.to_thread(aside.unlink)

    async def _tell_removed(self, job_id: str, path: str) -> None:
        """Change the job, so that no plan which counted on the input is carried out."""
        event = EventDraft(f"Input file {path} was removed", reason="input_removed")
        while True:
            job = await self._store.get_job(job_id)
            if job is None:
                raise ServiceError("The job was deleted.", code="deleted", status=410)
            check_waiting(job)
            with contextlib.suppress(Conflict):
                await self._store.update_job(job, event)
                return

    async def _open(self, job: Job, kind: str, path: str) -> OpenFile:
        try:
            return await asyncio.to_thread(_open, self._folder(job.id) / kind, path)
        except FileNotFoundError:
            noun = "input" if kind == INPUTS else "result"
            message = f"Job {job.id} has no {noun} {path[:200]!r} at the core."
            raise ServiceError(message, code="file_not_found", status=404) from None

    def _folder(self, job_id: str) -> Path:
        if str(uuid.UUID(job_id)) != job_id:
            raise ValueError(f"{job_id!r} is not a job id")
        return output_folder(self._home, job_id)

    def _views(self, job: Job) -> tuple[list[FileView], bool]:
        folder = self._folder(job.id)
        views = [
            FileView(
                path=name,
                kind="input" if kind == INPUTS else "output",
                size=found.st_size,
                mode=found.st_mode & 0o777,
                modified=dt.datetime.fromtimestamp(found.st_mtime, dt.timezone.utc),
            )
            for kind in (INPUTS, OUTPUTS)
            for name, found in walk_files(folder / kind)
        ]
        return views, find_file(folder, MARK) is not None

    def _taken(self, job: Job, path: str) -> int:
        """Bytes of the job's other inputs; what earlier uploads left behind is removed."""
        folder = self._folder(job.id)
        active = {upload.draft for upload in self._uploads} | self._aside
        for name, _ in list(walk_files(folder / UPLOADS)):
            if folder / UPLOADS / name not in active:
                remove_file(folder / UPLOADS, name)
        sizes = {name: found.st_size for name, found in walk_files(folder / INPUTS)}
        return sum(size for name, size in sizes.items() if name != path)

    def _check_room(self, upload: Upload) -> None:
        """Refuse what goes beyond ``max_input`` together with what is there and on its way."""
        others = sum(other.reserved for other in self._beside(upload))
        if upload.reserved + upload.beside + others > self.max_input:
            message = f"The inputs of one job may have {_shown(self.max_input)} together."
            raise ServiceError(message, code="too_large", status=413)
        if self._over_total(upload):
            message = (
                f"The inputs of all jobs of {upload.job.owner} that have not ended may have "
                f"{_shown(self._max_total)} together. Wait until some have ended."
            )
            raise ServiceError(message, code="too_large", status=413)

    def _over_total(self, upload: Upload) -> bool:
        coming = sum(each.reserved for each in self._uploads if each.job.owner == upload.job.owner)
        coming += upload.reserved if upload not in self._uploads else 0
        return 0 < self._max_total < coming + upload.beside + upload.elsewhere

    def _beside(self, upload: Upload) -> list[Upload]:
        """The other uploads of the same job."""
        others = self._uploads - {upload}
        return [other for other in others if other.job.id == upload.job.id]

    async def _arrived(self, upload: Upload, draft: Path) -> tuple[FileView, bool]:
        """Give an upload its place, if its job still waits; the file, and whether it is new."""
        job = await self._store.get_job(upload.job.id)
        if job is None:
            raise ServiceError("The job was deleted.", code="deleted", status=410)
        check_waiting(job)
        folder = self._folder(job.id) / INPUTS
        try:
            view, new = await asyncio.to_thread(_place, draft, folder, upload.path, upload.mode)
        except OSError as error:
            raise _explained(error, upload.path) from error
        for other in self._beside(upload):
            other.beside += view.size
        self._totals.add(job, view.size)
        self._changes += 1
        known = self._missing.get(job.id)
        if known is not None:
            self._missing[job.id] = tuple(name for name in known if name != upload.path)
        self._replan()
        return view, new

    def _ended(self, upload: Upload) -> None:
        self._uploads.discard(upload)


class Upload:
    """An input on its way in; :meth:`finish` or :meth:`abort` ends it.

    Until it is finished, nothing of it can be seen.
    """

    def __init__(self, files: JobFiles, job: Job, path: str, mode: int, size: int) -> None:
        self.job = job
        self.path = path
        self.mode = mode
        self.reserved = size
        self.beside = 0
        self.elsewhere = 0
        self.draft = files._folder(job.id) / UPLOADS / uuid.uuid4().hex
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
        self._files._check_room(self)
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
                return await self._files._arrived(self, self.draft)
        finally:
            await self.abort()

    async def abort(self) -> None:
        """Drop it; nothing happens once it has ended."""
        async with self._lock:
            self._over = True
            self._waiting.clear()
            self._files._ended(self)
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
                raise _explained(error, self.path) from error

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


def _place(draft: Path, folder: Path, path: str, mode: int) -> tuple[FileView, bool]:
    new = find_file(folder, path) is None
    # The core itself must be able to read it, to bring it to the node.
    draft.chmod(mode | 0o400)
    found = draft.stat()
    move_in(draft, folder, path)
    view = FileView(
        path=path,
        kind="input",
        size=found.st_size,
        mode=found.st_mode & 0o777,
        modified=dt.datetime.fromtimestamp(found.st_mtime, dt.timezone.utc),
    )
    return view, new


def _put_aside(root: Path, path: str, aside: Path) -> bool:
    make_private(aside.parent)
    return move_out(root, path, aside)


def _open(root: Path, path: str) -> OpenFile:
    descriptor = open_file(root, path)
    return OpenFile(descriptor, os.fstat(descriptor))


def _explained(error: OSError, path: str) -> ServiceError:
    if error.errno in _ROOM_ERRORS:
        return ServiceError("The core has no room left for files.", code="no_room", status=507)
    if error.errno in _NAME_ERRORS:
        message = f"{path[:200]!r} cannot be the name of a file here: {error.strerror}"
        return ServiceError(message, code="invalid", status=422, field="path")
    raise error


def _shown(size: int) -> str:
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size} bytes"


def _remove_tree(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
