"""``/jobs/{id}``: one job."""

from __future__ import annotations

from ...store import Different
from ...wire import CancelQuery, JobPatch, JobRequest, JobView
from ..conditions import IF_MATCH
from ..operation import operation
from ..submitting import submit
from .jobs import JobHandlerBase, check_id, no_such_job


class JobHandler(JobHandlerBase):
    """``GET``, ``PUT``, ``PATCH`` and ``DELETE /jobs/{id}``."""

    @operation("A job", answers={200: JobView}, etag=True)
    async def get(self, job_id: str) -> None:
        """Show a job."""
        self.show(await self.job(job_id))

    @operation(
        "Submit a job under an id of one's own",
        body=JobRequest,
        answers={200: JobView, 201: JobView},
        errors=(409, 410),
        etag=True,
    )
    async def put(self, job_id: str) -> None:
        """Submit a job: 201, or 200 when the same job is there already."""
        check_id(job_id)
        request = await self.read(JobRequest)
        job, created = await submit(self.services, self.caller, job_id, request)
        self.show(job, 201 if created else 200)

    @operation(
        "Change a job: its walltime, name, comment, or whether it is held",
        body=JobPatch,
        answers={200: JobView},
        errors=(409,),
        headers=(IF_MATCH,),
        etag=True,
    )
    async def patch(self, job_id: str) -> None:
        """Change what can be changed; 409 tells why something cannot."""
        change = await self.read(JobPatch)
        jobs = self.services.jobs
        self.show(await self.with_job(job_id, lambda job: jobs.change(job, change, by=self.caller)))

    @operation(
        "Cancel a job",
        query=CancelQuery,
        answers={202: JobView, 204: None},
        headers=(IF_MATCH,),
        etag=True,
    )
    async def delete(self, job_id: str) -> None:
        """Cancel a job: 202 and the job, or 204 when it was never submitted (and now never is)."""
        check_id(job_id)
        query = self.query_as(CancelQuery)
        owner = None if self.caller.admin else self.caller.name
        if "If-Match" in self.request.headers:
            self.check_match((await self.job(job_id)).version, f"Job {job_id}")
        if query.array:
            known = await self.services.store.get_job(job_id)
            array = job_id if known is None else known.array_id
            if array is not None:
                await self.services.jobs.cancel_array(array, owner)
        try:
            job = await self.services.jobs.cancel(job_id, owner)
        except Different:
            raise no_such_job(job_id) from None
        if job is None:
            self.set_status(204)
            self.clear_header("Content-Type")
            return
        self.show(job, 202)
