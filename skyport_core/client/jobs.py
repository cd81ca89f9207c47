"""Calls about jobs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Collection

from ..model import JobKind, JobState
from ..wire import JobList, JobPatch, JobQuery, JobRequest, JobView, OfferList, OfferRequest
from .calls import Calls, arguments, job_path
from .errors import CoreError
from .transport import parse


class JobCalls(Calls):
    """Submit, look at, change and end jobs."""

    async def submit(
        self, request: JobRequest, *, job_id: str | None = None, wait: float = 0
    ) -> JobView:
        """Submit a job, or an array of them, under a new id.

        Safe to try again: the id is made here, once, and the core takes each id once.

        Parameters
        ----------
        request : JobRequest
            What shall run, and what it needs.
        job_id : str, optional
            A UUID of the caller's own choice.
        """
        return await self.put_job(job_id or str(uuid.uuid4()), request, wait=wait)

    async def put_job(self, job_id: str, request: JobRequest, *, wait: float = 0) -> JobView:
        """Submit a job under an id (a UUID) chosen by the caller.

        The same call again answers with the same job. CoreError 409: the id stands for something
        else; 410: it was deleted; 422: a field is not valid.
        """
        # Only what was given: what the request is silent about, its script may say.
        body = request.model_dump_json(exclude_unset=True)
        return await self._transport.fetch(JobView, "PUT", job_path(job_id), body=body, wait=wait)

    async def get_job(self, job_id: str, *, wait: float = 0) -> JobView | None:
        """A job, or None when the core has none of this id that the caller may see."""
        try:
            return await self._transport.fetch(JobView, "GET", job_path(job_id), wait=wait)
        except CoreError as error:
            if error.status == 404:
                return None
            raise

    async def job_page(self, query: JobQuery | None = None, *, wait: float = 0) -> JobList:
        """One page of :meth:`jobs`; its ``next`` is the ``after`` of the query for the page behind.

        Parameters
        ----------
        query : JobQuery, optional
            Only what matches it; None: the newest jobs.
        """
        asked = arguments(query or JobQuery())
        return await self._transport.fetch(JobList, "GET", "/jobs", query=asked, wait=wait)

    async def jobs(
        self, query: JobQuery | None = None, *, wait: float = 0
    ) -> AsyncGenerator[JobView, None]:
        """All jobs that match, the newest first, fetched in pages of the query's ``limit``."""
        asked = query or JobQuery()
        while True:
            page = await self.job_page(asked, wait=wait)
            for view in page.jobs:
                yield view
            if page.next is None:
                return
            asked = asked.model_copy(update={"after": page.next})

    async def list_jobs(
        self,
        *,
        owner: str | None = None,
        states: Collection[JobState] = (),
        kind: JobKind | None = None,
        limit: int | None = None,
        after: str | None = None,
        wait: float = 0,
    ) -> list[JobView]:
        """One page of jobs that match, the newest first.

        Parameters
        ----------
        owner, states, kind
            Only jobs of this owner, in one of these states, of this kind.
        limit : int, optional
            Length of the page, 1 to 1000; the core's default is 100.
        after : str, optional
            Id of the last job of the page before.
        """
        query = JobQuery(
            owner=owner, state=tuple(states), kind=kind, limit=limit or 100, after=after
        )
        return (await self.job_page(query, wait=wait)).jobs

    async def patch_job(
        self, job_id: str, patch: JobPatch, *, version: int | None = None, wait: float = 0
    ) -> JobView:
        """Change what can still be changed of a job: walltime, hold, name, comment.

        Parameters
        ----------
        version : int, optional
            Only if the job is still of this version; else CoreError 412.
        """
        headers = _condition(version)
        body = patch.model_dump_json(exclude_unset=True)
        path = job_path(job_id)
        return await self._transport.fetch(
            JobView, "PATCH", path, body=body, headers=headers, wait=wait
        )

    async def extend(self, job_id: str, walltime: int, *, wait: float = 0) -> JobView:
        """Let a job run for ``walltime`` seconds from its start; of a running job only longer."""
        return await self.patch_job(job_id, JobPatch(walltime=walltime), wait=wait)

    async def hold(self, job_id: str, *, wait: float = 0) -> JobView:
        """Keep a queued job from starting. CoreError 409 when it has its place already."""
        return await self.patch_job(job_id, JobPatch(held=True), wait=wait)

    async def release(self, job_id: str, *, wait: float = 0) -> JobView:
        """Let a held job start."""
        return await self.patch_job(job_id, JobPatch(held=False), wait=wait)

    async def rename(self, job_id: str, name: str, *, wait: float = 0) -> JobView:
        """Give a job another name."""
        return await self.patch_job(job_id, JobPatch(name=name), wait=wait)

    async def delete_job(
        self, job_id: str, *, array: bool = False, wait: float = 0
    ) -> JobView | None:
        """Cancel a job in whatever state it is; returns at once.

        None when it was never submitted; a later ``put_job`` of the id is then refused.

        Parameters
        ----------
        array : bool
            All jobs of its array.
        """
        query = [("array", "true")] if array else []
        _, body = await self._transport.request("DELETE", job_path(job_id), query=query, wait=wait)
        return parse(JobView, body) if body else None

    cancel = delete_job

    async def requeue(self, job_id: str, *, version: int | None = None, wait: float = 0) -> JobView:
        """Have a job start over; what it did so far is dropped. A queued job stays as it is.

        Tried again only while the core cannot be reached: twice would be once too often.
        CoreError 409: it had secrets, which are gone since it has ended; submit it anew.
        """
        headers = _condition(version)
        return await self._transport.fetch(
            JobView,
            "POST",
            job_path(job_id, "requeue"),
            headers=headers,
            idempotent=False,
            wait=wait,
        )

    async def delete_record(self, job_id: str, *, wait: float = 0) -> None:
        """Remove a job that has ended, with its events, log and files.

        CoreError 409 while it lives. One that is gone already is no error.
        """
        try:
            await self._transport.request("DELETE", job_path(job_id, "record"), wait=wait)
        except CoreError as error:
            if error.status != 404:
                raise

    async def script(self, job_id: str, *, wait: float = 0) -> str:
        """The script of a job. CoreError 404 when it has none."""
        _, body = await self._transport.request("GET", job_path(job_id, "script"), wait=wait)
        return body.decode(errors="replace")

    async def offers(self, request: OfferRequest, *, wait: float = 0) -> OfferList:
        """Where a job would go, when, at what price, and why not elsewhere; nothing is done."""
        body = request.model_dump_json(exclude_unset=True)
        return await self._transport.fetch(OfferList, "POST", "/offers", body=body, wait=wait)


def _condition(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
