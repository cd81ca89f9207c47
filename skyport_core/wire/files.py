"""The files of jobs: what they are given and what they bring home."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, Field


class FileView(BaseModel):
    """A file of a job that is at the core."""

    path: str = Field(description="Relative to the working directory.")
    kind: Literal["input", "output"]
    size: int = Field(description="Bytes.")
    mode: int = Field(description="Permission bits.")
    modified: dt.datetime


class FileList(BaseModel):
    """``GET /api/v1/jobs/{id}/files``.

    ``missing`` are the inputs that the job still waits for; ``complete`` tells that all outputs
    came home.
    """

    files: list[FileView]
    missing: list[str] = []
    complete: bool = False
