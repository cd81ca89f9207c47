"""The files of jobs at the core: inputs that terminals upload, outputs that came home.

Below the job's folder at the core, ``inputs`` holds what was uploaded, ``files`` what came home,
and ``uploads`` what is on its way and is worth nothing after a restart.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from ..confined import (
    find_file,
    make_private,
    move_in,
    move_out,
    open_file,
    remove_file,
    walk_files,
)
from ..model import EventDraft, Job
from ..outputs import INPUTS, MARK, OUTPUTS, UPLOADS, output_folder
from ..service import OpenFile, ServiceError
from ..store import Conflict, Store
from ..wire import FileList, FileView
from .inputs import check_named, check_waiting, is_waiting, missing_files
from .shares import InputTotals
from .sharing import link_input, sharers, to_end, unlink_input
from .uploading import Upload, explained


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
            404: no input of the job; 409: the job waits for none any more, nor does another of
            the array that has its id; 413: too large.
        """
        if not await sharers(self._store, job):
            check_waiting(job)
        check_named(job, path)
        draft = self._folder(job.id) / UPLOADS / uuid.uuid4().hex
        upload = Upload(self, draft, job, path, mode, size or 0)
        upload.beside = await asyncio.to_thread(self._taken, job, path)
        if self._max_total:
            upload.elsewhere = await self._totals.beside(job)
            if self._over_total(upload):
                upload.elsewhere = await self._totals.beside(job, fresh=True)
        self.check_room(upload)
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

    def check_room(self, upload: Upload) -> None:
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

    async def arrived(self, upload: Upload, draft: Path) -> tuple[FileView, bool]:
        """Give an upload its place, if its job still waits; the file, and whether it is new."""
        job = await self._store.get_job(upload.job.id)
        if job is None:
            raise ServiceError("The job was deleted.", code="deleted", status=410)
        others = await sharers(self._store, job)
        if not others:
            check_waiting(job)
        ids = [job.id, *others] if is_waiting(job) else others
        try:
            view, new = await self._placed(job, ids, upload, draft)
        except BaseException as error:
            for each in ids:
                self._misses(each)
            if isinstance(error, OSError):
                raise explained(error, upload.path) from error
            raise
        self._changes += 1
        for each in ids:
            if each in self._missing:
                left = (name for name in self._missing[each] if name != upload.path)
                self._missing[each] = tuple(left)
        for other in self._beside(upload):
            other.beside += view.size
        self._replan()
        return view, new

    async def _placed(
        self, job: Job, ids: Sequence[str], upload: Upload, draft: Path
    ) -> tuple[FileView, bool]:
        """Put a file below the folders of jobs, ``job`` last; what it is, and whether it is new."""
        folder = self._folder(job.id)
        link = folder / UPLOADS / uuid.uuid4().hex
        self._aside.add(link)
        try:
            new = await asyncio.to_thread(find_file, folder / INPUTS, upload.path) is None
            view, inode = await to_end(_prepare, draft, upload.path, upload.mode)
            self._totals.add(job, inode, view.size)
            others = {self._folder(each): each for each in ids if each != job.id}
            if others:
                linked = await to_end(link_input, draft, others, upload.path, link)
                live = await self._store.live_tasks(job.id)
                gone = [each for each in linked if others[each] not in live]
                await to_end(unlink_input, gone, upload.path)
            if job.id in ids:
                await to_end(move_in, draft, folder / INPUTS, upload.path)
        finally:
            self._aside.discard(link)
        return view, new

    def ended(self, upload: Upload) -> None:
        """An upload is over, whatever came of it."""
        self._uploads.discard(upload)


def _prepare(draft: Path, path: str, mode: int) -> tuple[FileView, int]:
    # The core itself must be able to read it, to bring it to the node.
    draft.chmod(mode | 0o400)
    found = draft.stat()
    view = FileView(
        path=path,
        kind="input",
        size=found.st_size,
        mode=found.st_mode & 0o777,
        modified=dt.datetime.fromtimestamp(found.st_mtime, dt.timezone.utc),
    )
    return view, found.st_ino


def _put_aside(root: Path, path: str, aside: Path) -> bool:
    make_private(aside.parent)
    return move_out(root, path, aside)


def _open(root: Path, path: str) -> OpenFile:
    descriptor = open_file(root, path)
    return OpenFile(descriptor, os.fstat(descriptor))


def _shown(size: int) -> str:
    return f"{size / 2**20:g} MiB" if size >= 2**20 else f"{size} bytes"


def _remove_tree(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
