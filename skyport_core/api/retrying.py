"""Changing a job that others change at the same time."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..store import Conflict
from .errors import ApiError

T = TypeVar("T")

TRIES = 20
"""Times that a change is tried."""


async def retried(job_id: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """What an attempt to change a job gives that no other change of it came in between.

    Raises what an attempt raises but Conflict, and ApiError 503 when none gets through.
    """
    for _ in range(TRIES):
        with contextlib.suppress(Conflict):
            return await attempt()
    raise ApiError(503, "busy", f"Job {job_id} is changing all the time; try again.")
