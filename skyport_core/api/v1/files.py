"""``/jobs/{id}/files`` and ``/jobs/{id}/inputs``: what a job is given and what it brought home.

Bytes of users are served so that no browser shows them as a page of the core's: as a download,
of no particular type, and in a sandbox.
"""

from __future__ import annotations

import asyncio
import os
import re
from urllib.parse import quote

from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from ...model import Job
from ...service import OpenFile, ServiceError
from ...wire import FileList, FileView
from ..errors import ApiError
from ..limits import BYTES
from ..operation import Header, operation
from ..ranges import byte_range, sha256_digest
from ..services import InputUpload
from ..streaming import PART, Streaming
from .jobs import JobHandlerBase

DRAIN = 64 * 2**20
"""Bytes of a refused upload that are read and dropped, so that its sender sees the answer."""

MODE = Header(
    "X-Skyport-Mode", "Permission bits on the node, octal; 600 if absent.", pattern="^0?[0-7]{1,3}$"
)
REPR_DIGEST = Header(
    "Repr-Digest", "`sha-256=:BASE64:` of the file (RFC 9530); other bytes are refused."
)
RANGE = Header("Range", "One part of the file: `bytes=FIRST-LAST`.")
IF_RANGE = Header("If-Range", "The part is wanted of the file with this `ETag`, else all of it.")


class FilesHandler(JobHandlerBase):
    """``GET /jobs/{id}/files``."""

    @operation("List the files of a job that are at the core", answers={200: FileList})
    async def get(self, job_id: str) -> None:
        """List what was uploaded, what came home, and the inputs that are missing."""
        files = await self.services.files.files(await self.job(job_id))
        self.finish(await asyncio.to_thread(files.model_dump_json))


class Download(Streaming, JobHandlerBase):
    """Serves one file, or a part of it."""

    async def serve(self, file: OpenFile) -> None:
        """Answer with a file, and close it."""
        try:
            await self._serve(file)
        except StreamClosedError:
            return
        finally:
            os.close(file.descriptor)

    async def _serve(self, file: OpenFile) -> None:
        size = file.status.st_size
        self.tag(f"{file.status.st_mtime_ns:x}-{size:x}")
        self._describe()
        if self.check_etag_header():
            self.clear_header("Content-Type")
            self.set_status(304)
            return
        begin, end = self._part(size) or (0, size)
        if (begin, end) != (0, size):
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {begin}-{end - 1}/{size}")
        self.set_header("Content-Length", str(end - begin))
        if self.request.method == "HEAD":
            return
        while begin < end:
            count = min(PART, end - begin)
            data = await asyncio.to_thread(os.pread, file.descriptor, count, begin)
            if not data:
                break
            begin += len(data)
            await self.send(data)

    def _describe(self) -> None:
        name = self.path_kwargs["path"].rpartition("/")[2]
        self.set_header("Content-Type", BYTES)
        self.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
        self.set_header("Content-Disposition", f"attachment; filename*=UTF-8''{quote(name)}")
        self.set_header("Accept-Ranges", "bytes")

    def _part(self, size: int) -> tuple[int, int] | None:
        condition = self.request.headers.get("If-Range")
        if self.request.method == "HEAD" or condition not in (None, self.compute_etag()):
            return None
        return byte_range(self.request.headers.get("Range"), size)


class OutputHandler(Download):
    """``GET /jobs/{id}/files/{path}``."""

    @operation(
        "Download a file that a job brought home",
        answers={200: BYTES, 206: BYTES},
        errors=(404, 416),
        headers=(RANGE, IF_RANGE),
        etag=True,
    )
    async def get(self, job_id: str, path: str) -> None:
        """Send a result of the job."""
        job = await self.job(job_id)
        await self.serve(await self.services.files.open_output(job, path))


class InputHandler(Download):
    """``PUT``, ``GET`` and ``DELETE /jobs/{id}/inputs/{path}``."""

    _upload: InputUpload | None = None
    _refused: ApiError | ServiceError | None = None
    _dropped = 0

    async def prepare(self) -> None:
        """Before the body of an upload comes, see whether it may."""
        await super().prepare()
        if self.request.method != "PUT":
            return
        connection = self.request.connection
        if isinstance(connection, HTTP1Connection):
            connection.set_max_body_size(self.services.files.max_input + DRAIN)
        try:
            job = await self.job(self.path_kwargs["job_id"])
            self._upload = await self._begin(job)
        except (ApiError, ServiceError) as error:
            self._refuse(error)

    async def data_received(self, chunk: bytes) -> None:  # type: ignore[override]
        """Pass an upload on to the disk; the next bytes are read when that is done."""
        if self.request.method != "PUT":
            super().data_received(chunk)
            return
        self._pace.count(len(chunk))
        if self._upload is not None and self._refused is None:
            self._pace.busy = True
            try:
                await self._upload.write(chunk)
            except ServiceError as error:
                self._refuse(error)
            finally:
                self._pace.busy = False
        else:
            self._dropped += len(chunk)
            if self._dropped > DRAIN and self._refused is not None:
                raise self._refused

    @operation(
        "Upload an input of a job that waits for it",
        bodies={BYTES: "The file."},
        answers={200: FileView, 201: FileView},
        errors=(404, 409, 413, 507),
        headers=(MODE, REPR_DIGEST),
    )
    async def put(self, job_id: str, path: str) -> None:
        """Answer for an upload, all of which has come."""
        self._pace.stop()
        if self._refused is not None:
            raise self._refused
        assert self._upload is not None  # noqa: S101 (typing)
        digest = sha256_digest(self.request.headers.get("Repr-Digest"))
        view, new = await self._upload.finish(digest)
        self.reply(view, 201 if new else 200)

    @operation(
        "Download an input of a job",
        answers={200: BYTES, 206: BYTES},
        errors=(404, 416),
        headers=(RANGE, IF_RANGE),
        etag=True,
    )
    async def get(self, job_id: str, path: str) -> None:
        """Send what was uploaded."""
        job = await self.job(job_id)
        await self.serve(await self.services.files.open_input(job, path))

    @operation("Remove an input of a job that still waits", answers={204: None}, errors=(404, 409))
    async def delete(self, job_id: str, path: str) -> None:
        """Remove what was uploaded; 204 too if nothing was."""
        await self.services.files.remove_input(await self.job(job_id), path)
        self.set_status(204)
        self.clear_header("Content-Type")

    def on_connection_close(self) -> None:
        """Drop an upload whose sender has left."""
        super().on_connection_close()
        self._drop()

    def on_finish(self) -> None:
        """Drop what was not finished."""
        super().on_finish()
        self._drop()

    async def _begin(self, job: Job) -> InputUpload:
        headers = self.request.headers
        if "Content-Range" in headers:
            message = "Content-Range: a file is uploaded as a whole"
            raise ApiError(400, "bad_request", message, "Content-Range")
        mode = headers.get("X-Skyport-Mode", "600")
        if not re.fullmatch(r"0?[0-7]{1,3}", mode):
            message = f"X-Skyport-Mode ({mode[:60]!r}): must be octal, from 0 to 777"
            raise ApiError(422, "invalid", message, "X-Skyport-Mode")
        sha256_digest(headers.get("Repr-Digest"))
        path = self.path_kwargs["path"]
        return await self.services.files.upload(job, path, int(mode, 8), self._length())

    def _length(self) -> int | None:
        text = self.request.headers.get("Content-Length", "")
        return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None

    def _refuse(self, error: ApiError | ServiceError) -> None:
        """Answer with an error, after the body if that is not too long to be read for nothing."""
        if (self._length() or 0) > DRAIN or "Expect" in self.request.headers:
            raise error
        self._refused = error

    def _drop(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            task = asyncio.ensure_future(upload.abort())
            running = self.settings["running"]
            running.add(task)
            task.add_done_callback(running.discard)
