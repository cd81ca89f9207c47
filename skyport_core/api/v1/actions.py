"""What is done with a job besides showing and ending it: start it over, forget it, its script."""

from __future__ import annotations

from ...store import Conflict
from ...wire import JobView
from ..conditions import IF_MATCH
from ..errors import ApiError
from ..operation import operation
from .job import TRIES
from .jobs import SCRIPT_TYPE, JobHandlerBase


class RequeueHandler(JobHandlerBase):
    """``POST /jobs/{id}/requeue``."""

    @operation(
        "Have a job start over",
        answers={202: JobView},
        errors=(409,),
        headers=(IF_MATCH,),
        etag=True,
    )
    async def post(self, job_id: str) -> None:
        """Put a job back into the queue, whether it runs or has ended; 409 where it cannot be."""
        for _ in range(TRIES):
            job = await self.job(job_id)
            self.check_match(job.version, f"Job {job_id}")
            try:
                self.show(await self.services.jobs.requeue(job), 202)
                return
            except Conflict:
                continue
        raise ApiError(503, "busy", f"Job {job_id} is changing all the time; try again.")


class RecordHandler(JobHandlerBase):
    """``DELETE /jobs/{id}/record``."""

    @operation(
        "Forget a job that has ended",
        answers={204: None},
        errors=(409,),
        headers=(IF_MATCH,),
    )
    async def delete(self, job_id: str) -> None:
        """Remove a job's record, events, script, logs and files; its id stays used up."""
        for _ in range(TRIES):
            job = await self.job(job_id)
            self.check_match(job.version, f"Job {job_id}")
            try:
                await self.services.jobs.remove(job)
                self.set_status(204)
                self.clear_header("Content-Type")
                return
            except Conflict:
                continue
        raise ApiError(503, "busy", f"Job {job_id} is changing all the time; try again.")


class ScriptHandler(JobHandlerBase):
    """``GET /jobs/{id}/script``."""

    @operation("The script of a job", answers={200: SCRIPT_TYPE})
    async def get(self, job_id: str) -> None:
        """The script as it was submitted; 404 for a job that is a command."""
        job = await self.job(job_id)
        script = await self.services.store.script(job.id) if job.scripted else None
        if script is None:
            raise ApiError(404, "no_script", f"Job {job_id} has no script; it is a command.")
        self.set_header("Content-Type", f"{SCRIPT_TYPE}; charset=utf-8")
        self.finish(script)
