"""Submitting a job, whichever door and protocol it comes by."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from ..caller import Caller
from ..jobscript import Completed, ScriptError, understand
from ..jobscript.draft import without_field
from ..model import Job
from ..service import ServiceError
from ..store import Different, Tombstoned
from ..wire import JobRequest, OfferRequest
from .errors import ApiError
from .rights import check_rights
from .services import Services

THREAD_SCRIPT = 2**16
"""Characters from which on a script is read in a thread, so that the event loop goes on."""

Request = TypeVar("Request", JobRequest, OfferRequest)


async def understood(services: Services, caller: Caller, request: Request) -> Completed[Request]:
    """The request with what its script's directives ask for where it was silent itself.

    Raises ApiError 422 naming the line and the directive at fault.
    """
    script = request.script
    if script is None:
        return Completed(request)
    jobs = services.jobs
    read = partial(
        understand,
        request,
        peer=caller.peer,
        sites=jobs.site_names,
        any_account=not jobs.has_accounts,
    )
    try:
        return read() if len(script) < THREAD_SCRIPT else await asyncio.to_thread(read)
    except ScriptError as error:
        message = f"script: {error}"
    raise ApiError(422, "invalid_script", message, "script")


@contextmanager
def lines_named(whole: Completed[Request]) -> Iterator[None]:
    """Refusals inside the block name the line of the script that asked for what is refused."""
    try:
        yield
    except (ApiError, ServiceError) as error:
        origin = whole.origin(error.field) if error.field else None
        if origin is not None:
            said = without_field(error.message, error.field or "")
            error.message = f"script: line {origin.line}: {origin.name}: {said}"
        raise


async def submit(
    services: Services, caller: Caller, job_id: str, request: JobRequest
) -> tuple[Job, bool]:
    """Put a job into the queue for a caller; the stored job, and whether it is new. Idempotent.

    Raises
    ------
    ApiError
        403 for what the caller may not ask for, 409 and 410 for an id that is used up, 422.
    ServiceError
        What the core refuses.
    """
    whole = await understood(services, caller, request)
    jobs = services.jobs
    note = "; ".join(whole.notes)
    try:
        with lines_named(whole):
            owner = check_rights(caller, whole.request, jobs.allowed_forwards, jobs.peer_forwards)
            return await jobs.submit(
                job_id, owner, whole.request, submitted=request, by=caller, note=note
            )
    except Tombstoned:
        message = f"Job {job_id} was deleted; submit under a new id."
        raise ApiError(410, "deleted", message) from None
    except Different:
        message = (
            f"The id {job_id} belongs to a job with other content or another owner; "
            "submit under a new id."
        )
        raise ApiError(409, "different", message) from None
