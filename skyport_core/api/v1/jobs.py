"""``/jobs`` and ``/jobs/{id}``."""

from __future__ import annotations

import uuid
from typing import Annotated

from pydantic import Field, TypeAdapter

from ...model import Job, JobKind, JobState
from ...store import Different, Tombstoned
from ...wire import JobList, JobRequest, JobView
from ..errors import ApiError
from ..handler import ApiHandler

PAGE = 100
"""Jobs on a page when the caller does not say."""

_Kind: TypeAdapter[JobKind | None] = TypeAdapter(JobKind)
_Limit: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=1, le=1000)])


def is_job_id(text: str) -> bool:
    """Whether a text is a UUID in its canonical form, the only form that names a job."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


class JobHandlerBase(ApiHandler):
    """What all handlers of one job share."""

    async def job(self, job_id: str) -> Job:
        """The job, if it is the caller's to see; else ApiError 404, which tells nothing more."""
        job = await self.services.store.get_job(job_id) if is_job_id(job_id) else None
        if job is None or not self.caller.owns(job):
            raise ApiError(404, "job_not_found", f"There is no job {job_id}.")
        return job


class JobsHandler(ApiHandler):
    """``GET /jobs``."""

    async def get(self) -> None:
        """List the caller's jobs (an admin: all), the newest first.

        Query: ``owner``, ``state`` (may be given several times), ``kind``, ``limit``, and
        ``after``, the id of the last job of the page before.
        """
        after = self.get_query_argument("after", None)
        try:
            jobs = await self.services.store.list_jobs(
                owner=self.owner("jobs"),
                states=self._states(),
                kind=self.query("kind", _Kind, None),
                limit=self.query("limit", _Limit, PAGE),
                before=after,
                newest_first=True,
            )
        except KeyError:
            message = f"after ({after!r}): must be the id of a job"
            raise ApiError(422, "invalid", message, "after") from None
        self.reply(JobList(jobs=[JobView.of(job) for job in jobs]))

    def _states(self) -> list[JobState] | None:
        names = self.get_query_arguments("state")
        unknown = [name for name in names if name not in JobState.__members__]
        if unknown:
            known = ", ".join(JobState.__members__)
            raise ApiError(422, "invalid", f"state ({unknown[0]!r}): must be of {known}", "state")
        return [JobState[name] for name in names] or None


class JobHandler(JobHandlerBase):
    """``PUT``, ``GET`` and ``DELETE /jobs/{id}``."""

    async def get(self, job_id: str) -> None:
        """Show a job."""
        self.reply(JobView.of(await self.job(job_id)))

    async def put(self, job_id: str) -> None:
        """Submit a job: 201, or 200 when the same job is there already."""
        _check_id(job_id)
        request = await self.read(JobRequest)
        owner = request.owner or self.caller.name
        if owner != self.caller.name and not self.caller.may_name_owner:
            message = f"{self.caller.name} may not submit a job for {owner}."
            raise ApiError(403, "forbidden", message, "owner")
        try:
            job, created = await self.services.jobs.submit(job_id, owner, request)
        except Tombstoned:
            message = f"Job {job_id} was deleted; submit under a new id."
            raise ApiError(410, "deleted", message) from None
        except Different:
            message = (
                f"The id {job_id} belongs to a job with other content or another owner; "
                "submit under a new id."
            )
            raise ApiError(409, "different", message) from None
        self.reply(JobView.of(job), 201 if created else 200)

    async def delete(self, job_id: str) -> None:
        """Cancel a job: 202 and the job, or 204 when it was never submitted (and now never is)."""
        _check_id(job_id)
        owner = None if self.caller.admin else self.caller.name
        try:
            job = await self.services.jobs.cancel(job_id, owner)
        except Different:
            raise ApiError(404, "job_not_found", f"There is no job {job_id}.") from None
        if job is None:
            self.set_status(204)
            self.clear_header("Content-Type")
        else:
            self.reply(JobView.of(job), 202)


def _check_id(job_id: str) -> None:
    if not is_job_id(job_id):
        message = f"id ({job_id[:60]!r}): must be a UUID, in lower case with hyphens"
        raise ApiError(422, "invalid", message, "id")
