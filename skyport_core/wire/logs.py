"""The query of a job's log."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_CHUNK = 4 * 2**20
"""Bytes of log in one answer at most, unless it is followed."""


class LogQuery(BaseModel):
    """Query of ``GET /api/v1/jobs/{id}/log``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: Literal["stdout", "stderr", "boot"] = Field(
        "stdout",
        description="boot: what the last machine that did not come up for the job printed.",
    )
    offset: int = Field(0, ge=0, le=2**53, description="Byte to begin with.")
    limit: int = Field(
        MAX_CHUNK // 4, ge=1, le=MAX_CHUNK, description="Bytes at most, unless it is followed."
    )
    follow: bool = Field(False, description="Go on with what is written until the job has ended.")
