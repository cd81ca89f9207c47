"""``/jobs``: the queue, and what the handlers of one job share."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

from pydantic import ValidationError

from ...model import Job
from ...wire import API_PREFIX, JobList, JobQuery, JobRequest, JobView
from ..errors import ApiError, from_validation
from ..handler import ApiHandler
from ..operation import Header, operation
from ..retrying import retried
from ..submitting import submit

T = TypeVar("T")

SCRIPT_TYPE = "text/x-shellscript"

IDEMPOTENCY_KEY = Header(
    "Idempotency-Key",
    "A UUID, which becomes the job's id: the same request sent twice makes one job.",
    pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
)
LOCATION = Header("Location", "Where the job is.", required=True)


def is_job_id(text: str) -> bool:
    """Whether a text is a UUID in its canonical form, the only form that names a job."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def check_id(job_id: str, field: str = "id") -> None:
    """Raise ApiError 422 for what cannot become the id of a job."""
    if not is_job_id(job_id):
        message = f"{field} ({job_id[:60]!r}): must be a UUID, in lower case with hyphens"
        raise ApiError(422, "invalid", message, field)


def no_such_job(job_id: str) -> ApiError:
    """The same answer for a job of somebody else and for one that does not exist."""
    return ApiError(404, "job_not_found", f"There is no job {job_id[:60]}.")


class JobHandlerBase(ApiHandler):
    """What all handlers of one job share."""

    async def job(self, job_id: str) -> Job:
        """The job, if it is the caller's to see; else ApiError 404, which tells nothing more."""
        job = await self.services.store.get_job(job_id) if is_job_id(job_id) else None
        if job is None or not self.caller.owns(job):
            raise no_such_job(job_id)
        return job

    async def with_job(self, job_id: str, change: Callable[[Job], Awaitable[T]]) -> T:
        """What a change of the job as it is now gives, if it is as If-Match wants it."""

        async def attempt() -> T:
            job = await self.job(job_id)
            self.check_match(job.version, f"Job {job_id}")
            return await change(job)

        return await retried(job_id, attempt)

    def show(self, job: Job, status: int = 200) -> None:
        """Answer with a job and its version."""
        self.tag(job.version)
        self.reply(JobView.of(job), status)


class JobsHandler(JobHandlerBase):
    """``GET`` and ``POST /jobs``."""

    @operation("The jobs in the queue and those that ended", query=JobQuery, answers={200: JobList})
    async def get(self) -> None:
        """List the caller's jobs (an admin: all), the newest first."""
        query = self.query_as(JobQuery)
        try:
            jobs = await self.services.store.list_jobs(
                owner=self.owner("jobs"),
                states=query.state or None,
                kind=query.kind,
                name=query.name,
                site=query.site,
                array=query.array,
                submitted_after=query.submitted_after,
                submitted_before=query.submitted_before,
                limit=query.limit + 1,
                before=query.after,
                newest_first=True,
            )
        except KeyError:
            message = f"after ({query.after!r}): must be the id of a job"
            raise ApiError(422, "invalid", message, "after") from None
        page = jobs[: query.limit]
        following = page[-1].id if len(jobs) > len(page) else None
        self.reply(JobList(jobs=[JobView.of(job) for job in page], next=following))

    @operation(
        "Submit a job under a new id",
        body=JobRequest,
        bodies={SCRIPT_TYPE: "A job script; its directives say what the job needs."},
        answers={200: JobView, 201: JobView},
        errors=(409, 410),
        headers=(IDEMPOTENCY_KEY,),
        returns=(LOCATION,),
        etag=True,
    )
    async def post(self) -> None:
        """Submit a job: 201 and where it is, or 200 when the same key made it before."""
        job_id = self.request.headers.get("Idempotency-Key", str(uuid.uuid4()))
        check_id(job_id, "Idempotency-Key")
        scripted = self.content_type("application/json", SCRIPT_TYPE) == SCRIPT_TYPE
        request = self._script() if scripted else await self.read(JobRequest)
        job, created = await submit(self.services, self.caller, job_id, request)
        self.set_header("Location", f"{self.settings['prefix']}{API_PREFIX}/jobs/{job.id}")
        self.show(job, 201 if created else 200)

    def _script(self) -> JobRequest:
        try:
            return JobRequest(script=self.body().decode())
        except UnicodeDecodeError:
            raise ApiError(400, "bad_request", "script: must be UTF-8", "script") from None
        except ValidationError as error:
            refused = from_validation(error, JobRequest)
        raise refused
