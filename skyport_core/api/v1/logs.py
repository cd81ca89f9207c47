"""``/jobs/{id}/log``: what a job wrote."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from .jobs import JobHandlerBase

MAX_CHUNK = 4 * 2**20
"""Bytes of log in one answer at most."""

_Stream: TypeAdapter[str] = TypeAdapter(Literal["stdout", "stderr", "boot"])
_Offset: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=0, lt=2**63)])
_Limit: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=MAX_CHUNK)])


class LogHandler(JobHandlerBase):
    """``GET /jobs/{id}/log``."""

    async def get(self, job_id: str) -> None:
        """Part of the log as plain text; ``X-Skyport-Next-Offset`` says where to read on.

        Query: ``stream`` (stdout, stderr or boot), ``offset`` and ``limit`` in bytes.
        """
        stream = self.query("stream", _Stream, "stdout")
        offset = self.query("offset", _Offset, 0)
        limit = self.query("limit", _Limit, MAX_CHUNK // 4)
        job = await self.job(job_id)
        data = await self.services.jobs.log(job, stream, offset, limit)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.set_header("X-Skyport-Next-Offset", str(offset + len(data)))
        self.finish(data)
