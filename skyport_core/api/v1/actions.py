"""What is done with a job besides showing and ending it: start it over, forget it, its script."""

from __future__ import annotations

from ...wire import JobView
from ..conditions import IF_MATCH
from ..errors import ApiError
from ..operation import operation
from ..streaming import Streaming
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
        self.show(await self.with_job(job_id, self.services.jobs.requeue), 202)


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
        await self.with_job(job_id, self.services.jobs.remove)
        self.set_status(204)
        self.clear_header("Content-Type")


class ScriptHandler(Streaming, JobHandlerBase):
    """``GET /jobs/{id}/script``."""

    @operation("The script of a job", answers={200: SCRIPT_TYPE})
    async def get(self, job_id: str) -> None:
        """The script as it was submitted; 404 for a job that is a command."""
        job = await self.job(job_id)
        # Whoever asks for many scripts at once does not have them all in memory before they count.
        async with self.settings["loading"]:
            script = await self.services.store.script(job.id) if job.scripted else None
            data = None if script is None else script.encode()
            del script
            if data is not None and self.flight is not None:
                self.flight.carry(len(data))
        if data is None:
            raise ApiError(404, "no_script", f"Job {job_id} has no script; it is a command.")
        self.set_header("Content-Type", f"{SCRIPT_TYPE}; charset=utf-8")
        await self.send_whole(data)
