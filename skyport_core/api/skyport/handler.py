"""What the handlers of the original's protocol share: errors as text, lists, limits."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel

from skyport_gates.timing import in_time

from ...model import Job
from ..errors import ApiError
from ..handler import ApiHandler
from ..v1.jobs import is_job_id

ANSWER_TIME = 4.0
"""Seconds that an answer may take; the published clients wait for five."""

Value = TypeVar("Value")


class OriginalHandler(ApiHandler):
    """Base of all handlers of the original's protocol."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Errors as plain text, with the statuses that the original documents."""
        answer = self.refusal(status_code, **kwargs)
        message = answer.message
        if answer.code == "unknown_uuid":
            self.set_status(400)
            named = re.search(r"UUID (\S+) of", message)
            user = named[1] if named else ""
            message = f'User with ID="{user}" is not registred in the workload manager'
        elif answer.status == 422:
            self.set_status(400)
        self.finish(message)

    def send_records(self, records: Sequence[BaseModel]) -> None:
        """Answer with a list."""
        self.finish(json.dumps([record.model_dump(exclude_none=True) for record in records]))

    def limit(self, default: int | None) -> int | None:
        """How many records are asked for. Raises ApiError 400."""
        text = self.get_query_argument("limit", None)
        if text is None:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 9):
            raise ApiError(
                400, "bad_request", f"limit ({text[:60]!r}): must be a whole number", "limit"
            )
        return int(text)

    async def job(self, job_id: str) -> Job | None:
        """A job of the caller's; None for one that does not exist or is somebody else's."""
        if len(job_id) != 36:
            raise self.unreadable()
        name = job_id.lower()
        job = await self.services.store.get_job(name) if is_job_id(name) else None
        return job if job is not None and self.caller.owns(job) else None

    def unreadable(self) -> ApiError:
        """What the original says of a path that it does not know."""
        if self.request.method != "GET":
            return ApiError(404, "not_found", "Can't parse the request")
        return ApiError(404, "not_found", f"Can't parse the path: {self.request.path[:200]}")


class Unknown(OriginalHandler):
    """Whatever else is below ``/user``."""

    async def prepare(self) -> None:
        """Answer 404, but only to those who may call at all."""
        await super().prepare()
        self.refuse(self.unreadable())


async def soon(work: Awaitable[Value], otherwise: Value) -> Value:
    """What comes of some work, or something else if that takes longer than a client waits."""
    try:
        return await in_time(work, ANSWER_TIME)
    except asyncio.TimeoutError:
        return otherwise
