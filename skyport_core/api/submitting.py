"""Submitting a job, whichever door and protocol it comes by."""

from __future__ import annotations

import asyncio
from typing import TypeVar

from ..caller import Caller
from ..jobscript import ScriptError, complete
from ..model import Job
from ..store import Different, Tombstoned
from ..wire import JobRequest, OfferRequest
from .errors import ApiError
from .rights import check_rights
from .services import Services

THREAD_SCRIPT = 2**16
"""Characters from which on a script is read in a thread, so that the event loop goes on."""

Request = TypeVar("Request", JobRequest, OfferRequest)


async def completed(services: Services, caller: Caller, request: Request) -> Request:
    """The request with what its script's directives ask for where it was silent itself.

    Raises ApiError 422 naming the line and the directive at fault.
    """
    script = request.script
    if script is None:
        return request
    peer, sites = caller.peer, services.jobs.site_names
    try:
        if len(script) < THREAD_SCRIPT:
            return complete(request, peer=peer, sites=sites)
        return await asyncio.to_thread(complete, request, peer=peer, sites=sites)
    except ScriptError as error:
        where = f"line {error.line}: " if error.line else ""
        what = f"{error.directive}: " if error.directive else ""
        message = f"script: {where}{what}{error.message}"
    raise ApiError(422, "invalid_script", message, "script")


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
    whole = await completed(services, caller, request)
    owner = check_rights(caller, whole, services.jobs.allowed_forwards)
    try:
        return await services.jobs.submit(job_id, owner, whole, submitted=request, by=caller)
    except Tombstoned:
        message = f"Job {job_id} was deleted; submit under a new id."
        raise ApiError(410, "deleted", message) from None
    except Different:
        message = (
            f"The id {job_id} belongs to a job with other content or another owner; "
            "submit under a new id."
        )
        raise ApiError(409, "different", message) from None
