"""What the API asks of the jobs: submit, change, cancel, start over, forget, show the log."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path
from typing import TypeVar

from skyport_gates.timing import in_time

from ..accounts import account_at, account_named
from ..caller import Caller
from ..model import Job, JobState
from ..service import ServiceError
from ..ssh.errors import NodeError
from ..wire import JobPatch, JobRequest, OfferList, OfferRequest
from .admission import Admission, check_array
from .attachment import Place
from .context import JobContext
from .evicting import ON_NODE
from .flavor import check_flavor
from .patching import patched
from .reconciler import JobReconciler
from .records import Records
from .restarting import restart
from .shares import EarlyDeletions

LOG_TIMEOUT = 10.0
"""Seconds that a look at a running job's log may take."""


WhatIf = Callable[[str, OfferRequest], Awaitable[OfferList]]
"""Tells where a job of an owner would go."""

Request = TypeVar("Request", JobRequest, OfferRequest)


class Jobs:
    """The front of the lifecycle, as ``api.services.JobService`` describes it."""

    def __init__(
        self,
        context: JobContext,
        reconciler: JobReconciler,
        records: Records,
        replan: Callable[[], None],
        what_if: WhatIf,
    ) -> None:
        self._context = context
        self._reconciler = reconciler
        self._records = records
        self._replan = replan
        self._what_if = what_if
        self._early = EarlyDeletions()
        self._admission = Admission(context.store, context.settings, context.sites.gates)

    @property
    def allowed_forwards(self) -> tuple[str, ...]:
        """Places near the core that anybody's jobs may have a forward to."""
        return self._context.settings.allowed_forwards

    @property
    def peer_forwards(self) -> bool:
        """Whether jobs may have forwards to the machines that they were submitted from."""
        return self._context.settings.peer_forwards

    @property
    def site_names(self) -> Collection[str]:
        """The sites of this core."""
        return self._context.sites.gates

    @property
    def has_accounts(self) -> bool:
        """Whether the core has accounts of its own; else each site is one."""
        return bool(self._context.settings.accounts)

    def account_of(self, site: str, by: Caller) -> str | None:
        """An account that a caller's jobs at a site can be charged to; None: there is none."""
        owner = None if by.admin else by.name
        accounts, sites = self._context.settings.accounts, self._context.sites.gates
        return account_at(accounts, site, owner, sites)

    async def submit(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        *,
        submitted: JobRequest | None = None,
        by: Caller | None = None,
        note: str = "",
    ) -> tuple[Job, bool]:
        """Put a job into the queue; the stored job, and whether it is new. Idempotent."""
        store = self._context.store
        submitted, request = submitted or request, self._with_account(request)
        counted = 0
        try:
            await self._admission.check(owner, request, by)
            await check_flavor(request, self._context.sites, self._context.settings)
            check_array(request)
            counted = await self._admission.count(owner, request, by)
        except ServiceError:
            # A repetition is answered as the first time, whatever has changed since.
            if await store.get_job(job_id) is None:
                raise
        limited = {"walltime": self._admission.walltime(request.walltime, by)}
        created = True  # as a transaction does that goes on although its caller has left
        try:
            job, created = await store.put_job(
                job_id,
                owner,
                request.model_copy(update=limited),
                self._context.now(),
                submitted=submitted,
                note=note,
            )
        except Exception:
            created = False
            raise
        finally:
            self._admission.settle(owner, counted, stored=created)
        if created:
            self._replan()
        return job, created

    async def change(self, job: Job, change: JobPatch, *, by: Caller | None = None) -> Job:
        """Change a job as far as it can be; ServiceError 409 where it cannot."""
        self._admission.check_walltime(change.walltime, by)
        changes, told = patched(job, change)
        if not changes:
            return job
        new = await self._context.store.update_job(job, told, **changes)
        self._reconciler.wake(job.id)
        if new.state is JobState.QUEUED:
            self._replan()
        return new

    async def requeue(self, job: Job) -> Job:
        """Have a job start over, whether it runs or has ended; ServiceError 409 if it cannot."""
        return await restart(job, self._context, self._reconciler)

    async def remove(self, job: Job) -> None:
        """Forget a job that has ended, with its files; ServiceError 409 before that."""
        await self._records.remove(job)

    async def offers(
        self, owner: str, request: OfferRequest, *, by: Caller | None = None
    ) -> OfferList:
        """Where a job would go if it were submitted now. Nothing is stored."""
        request = self._with_account(request)
        await self._admission.check(owner, request, by)
        limited = {"walltime": self._admission.walltime(request.walltime, by)}
        return await self._what_if(owner, request.model_copy(update=limited))

    def _with_account(self, request: Request) -> Request:
        """The request with its account's name, where it was given by its UUID."""
        if request.account is None:
            return request
        accounts, sites = self._context.settings.accounts, self._context.sites.gates
        name = account_named(accounts, request.account, sites)
        return request.model_copy(update={"account": name})

    async def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Have a job end, whatever state it is in; None when it was never submitted.

        Raises ServiceError 429 when an owner has deleted too many ids that no job has.
        """
        store = self._context.store
        if owner is not None and self._early.over(owner) and await store.get_job(job_id) is None:
            message = f"{owner} has deleted too many jobs that were never submitted."
            raise ServiceError(message, code="too_many", status=429)
        job = await store.tombstone(job_id, owner, self._context.now())
        if job is None and owner is not None:
            self._early.note(owner)
        if job is None or job.state.final:
            return job
        self._reconciler.cancelled(job_id)
        return job

    async def cancel_array(self, array_id: str, owner: str | None) -> bool:
        """Have all jobs of an array end; False when there are none of the owner's."""
        store = self._context.store
        found = await store.cancel_array(array_id, owner, self._context.now())
        if found is None:
            return False
        for job_id in found.ending:
            self._reconciler.cancelled(job_id)
        if found.ended:
            self._replan()
        return True

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        """Part of a job's output, from its node while it runs, from the core's copy after it.

        ``boot`` is what the last machine that did not come up for it printed.
        """
        kept = self._context.outputs(job.id) / f"{stream}.log"
        if stream != "boot" and _on_node(job):
            there = await self._from_node(job, stream, offset, limit)
            if there is not None:
                return there
        return await asyncio.to_thread(_read, kept, offset, limit)

    async def _from_node(
        self, job: Job, stream: str, offset: int, limit: int | None
    ) -> bytes | None:
        """The same from the job's node; None when the job has left it by now."""
        attachments = self._context.attachments
        held = attachments.has(job.id)
        found = b""
        try:
            attachment = await attachments.get(job)
            reading = attachment.runner.log(stream, offset=offset, limit=limit)
            found = await in_time(reading, LOG_TIMEOUT)
        except (NodeError, asyncio.TimeoutError) as error:
            self._context.log.info("Job %s: its log cannot be read now: %s", job.id, error)
        now = await self._context.store.get_job(job.id)
        if now is not None and _on_node(now) and Place.of(now) == Place.of(job):
            return found
        if not held:
            # Made here when the job's own was closed already: nobody else would close it.
            await attachments.drop(job)
        # While its output is on the way home, what was read is more than what is here.
        collected = now is None or now.state is not JobState.COLLECTING
        return None if collected else found or None


def _on_node(job: Job) -> bool:
    """Whether the job's output is on its node."""
    return job.state in ON_NODE and job.node is not None


def _read(path: Path, offset: int, limit: int | None) -> bytes:
    if not path.exists():
        return b""
    with path.open("rb") as file:
        if offset >= os.fstat(file.fileno()).st_size:
            # Beyond what a file may have, seeking fails.
            return b""
        file.seek(offset)
        return file.read(-1 if limit is None else limit)
