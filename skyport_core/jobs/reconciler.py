"""The job reconciler: moves every job one stored step at a time towards its target."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Awaitable, Callable, Mapping

from skyport_gates.gate import GateError, PartitionNotFound
from skyport_gates.timing import ended

from ..model import EventDraft, Failure, Job, JobKind, JobState
from ..ssh.errors import NodeError, StagingRefused
from ..store import Conflict, JobChanges
from ..workqueue import WorkQueue, serve
from .allocating import allocate, overdue
from .collecting import abandon, clean_up, collect
from .context import JobContext
from .evicting import taken
from .requeue import requeue
from .restarting import back, begin_anew
from .results import restore_time
from .running import watch
from .staging import stage
from .starting import start
from .step import Step

Phase = Callable[[Job, JobContext], Awaitable[Step]]

PHASES: Mapping[JobState, Phase] = {
    JobState.ALLOCATING: allocate,
    JobState.STAGING: stage,
    JobState.STARTING: start,
    JobState.RUNNING: watch,
    JobState.COLLECTING: collect,
}

OVERDUE = {
    JobState.ALLOCATING: "{place} could not be reached within {limit:g} s",
    JobState.STAGING: "The job's files could not be brought to {place} within {limit:g} s",
    JobState.STARTING: "The server on {place} did not answer within {limit:g} s of its start",
}

BATCH_OVERDUE = "The job could not be started on {place} within {limit:g} s"

RETRY_EVENT_REASON = "node_trouble"


class JobReconciler:
    """Calls the phase of each job that something happened to.

    A job is handled by one worker at a time. A step is stored with its event in one transaction
    before the next is taken, so that a core that is killed at any point goes on from there.
    """

    def __init__(
        self, context: JobContext, queue: WorkQueue[str], replan: Callable[[], None]
    ) -> None:
        self._context = context
        self._queue = queue
        self._replan = replan
        self._phases: dict[str, tuple[Job, asyncio.Task[Step]]] = {}
        self.log = context.log

    async def recover(self) -> None:
        """Take up every job that has not ended; called once at the start."""
        jobs = await self._context.store.active_jobs()
        for job in jobs:
            self._queue.add(job.id)
        if jobs:
            self.log.info("Taking up %d jobs", len(jobs))

    async def run(self) -> None:
        """Serve the queue until cancelled."""
        await serve(self._queue, self._reconcile, what="job", stale=Conflict, log=self.log)

    def wake(self, job_id: str) -> None:
        """Have the job looked at soon."""
        self._queue.add(job_id)

    def cancelled(self, job_id: str) -> None:
        """Break off the phase that the job is in, so that its new target is seen at once.

        Only what brings its results home at its end goes on.
        """
        self._break_off(job_id, lambda job: job.target is JobState.RUNNING)

    def warned(self, job_id: str) -> None:
        """The job's machine is to be taken away: break off all but the saving of results."""
        self._break_off(job_id, lambda job: job.state is not JobState.COLLECTING)

    def bereft(self, job_id: str) -> None:
        """The job's machine is gone: break off whatever waits for it."""
        self._break_off(job_id, lambda job: True)

    def _break_off(self, job_id: str, whether: Callable[[Job], bool]) -> None:
        self._queue.add(job_id)
        job, phase = self._phases.get(job_id, (None, None))
        if job is not None and phase is not None and whether(job):
            phase.cancel()

    async def _reconcile(self, job_id: str) -> None:
        context = self._context
        job = await context.store.get_job(job_id)
        if job is None:
            return
        if job.state.final:
            await context.attachments.close(job_id) if not job.cleanup_pending else None
            if job.cleanup_pending:
                await self._apply(job, await self._phase(job, clean_up))
            return
        if job.target is not JobState.RUNNING and job.state is not JobState.COLLECTING:
            await self._apply(job, self._leave(job))
        elif job.state is JobState.QUEUED:
            if job.requeue:
                await self._apply(job, await begin_anew(job, context))
            self._replan()
        elif job.requeue and job.state is JobState.ALLOCATING:
            # Nothing of it is on a node yet.
            await self._apply(job, await self._phase(job, back))
        elif job.requeue and job.state is not JobState.COLLECTING:
            event = EventDraft("Stopping, to start over", reason="stopping")
            await self._apply(job, Step.to(JobState.COLLECTING, event))
        else:
            step = await taken(job, context)
            await self._apply(job, step or await self._phase(job, PHASES[job.state]))

    @staticmethod
    def _leave(job: Job) -> Step:
        if job.state is JobState.QUEUED:
            event = EventDraft("Cancelled before it was placed", reason="cancelled")
            return Step.to(job.target, event)
        # Nothing of the job is on a node yet that was made for it, and that may never let us in.
        unused = job.state is JobState.ALLOCATING and job.partition is not None
        changes: JobChanges = {"node": None} if unused else {}
        return Step.to(JobState.COLLECTING, EventDraft("Stopping", reason="stopping"), changes)

    async def _phase(self, job: Job, phase: Phase) -> Step:
        """One call of a phase, within what is left of the state's deadline."""
        left = _seconds_left(job, self._context.now())
        if left is not None and left <= 0:
            return await self._overdue(job)
        task = asyncio.ensure_future(phase(job, self._context))
        self._phases[job.id] = (job, task)
        try:
            done, _ = await asyncio.wait({task}, timeout=left)
            if not done:
                return await self._overdue(job)
            if task.cancelled():
                return Step.wait(0)
            return task.result()
        except NodeError as error:
            return await self._trouble(job, error)
        except PartitionNotFound as error:
            return await self._node_gone(job, error)
        except GateError as error:
            self.log.warning("Job %s in %s: %s", job.id, job.state.value, error)
            return Step(retry=True)
        finally:
            del self._phases[job.id]
            if not task.done():
                await ended(task)

    async def _overdue(self, job: Job) -> Step:
        context = self._context
        limit = await self._limit(job, job.state) or 0.0
        if job.state is JobState.COLLECTING:
            self.log.warning("Job %s: %s did not answer while collecting", job.id, job.node)
            message = f"The job's results did not come home from {job.node} within {limit:g} s"
            return await abandon(job, context, Failure("results_lost", message, "Start again."))
        if job.state is JobState.ALLOCATING and job.partition is not None and job.node is not None:
            limit = context.settings.boot_timeout
        overdue_text = OVERDUE[job.state]
        if job.state is JobState.STARTING and job.spec.kind is JobKind.BATCH:
            overdue_text = BATCH_OVERDUE
        message = overdue_text.format(place=job.node or job.site, limit=limit)
        if job.state is JobState.ALLOCATING:
            return await overdue(job, context, message)
        reason = f"{job.state.value.lower()}_timeout"
        hint = "Start again; if it happens again, show the log to the admin."
        return Step.fail(Failure(reason, message, hint))

    async def _trouble(self, job: Job, error: NodeError) -> Step:
        """What an error of the node means in the state that the job is in."""
        self.log.warning(
            "Job %s in %s: %s", job.id, job.state.value, error, exc_info=error.__cause__
        )
        # A running job goes on while its tunnels are in trouble; losing its node has its own limit.
        if job.state in (JobState.STAGING, JobState.STARTING) and error.permanent:
            of_node = not isinstance(error, StagingRefused)
            if of_node and job.site is not None and job.node is not None:
                self._context.sites.suspect(job.site, job.node, error.message)
            return Step.fail(Failure(error.reason, error.message, error.hint))
        if job.state is JobState.COLLECTING and error.permanent:
            failure = Failure(error.reason, error.message, error.hint)
            return await abandon(job, self._context, failure)
        if await self._already_told(job, error):
            return Step(retry=True)
        draft = EventDraft(f"{error.message}; trying again", RETRY_EVENT_REASON, error.hint)
        return Step(event=draft, retry=True)

    async def _node_gone(self, job: Job, error: PartitionNotFound) -> Step:
        """The site no longer has the node that it made for the job."""
        if job.state is JobState.ALLOCATING:
            return await requeue(job, self._context, EventDraft(error.message, reason="node_gone"))
        if job.state is JobState.COLLECTING:
            return await abandon(job, self._context)
        if job.partition is not None:
            # Its record is the one to say what that means.
            self._context.partitions.wake(job.partition)
        return Step(retry=True)

    async def _already_told(self, job: Job, error: NodeError) -> bool:
        events = await self._context.store.events(job.id)
        return bool(events) and events[-1].message.startswith(error.message)

    async def _apply(self, job: Job, step: Step) -> None:
        """Store the step; it is not interrupted half-way by a cancelled phase."""
        changes: JobChanges = {**step.changes}
        state = changes.get("state")
        if state is not None and "deadline" not in changes:
            changes["deadline"] = await self._deadline(job, state, changes)
        if changes:
            job = await self._context.store.update_job(job, step.event, **changes)
        elif step.event is not None:
            await self._context.store.add_event(job.id, step.event)
        if state is not None:
            self._entered(job)
        if step.retry:
            self._queue.retry(job.id)
        elif step.again is not None:
            self._queue.forget(job.id)
            self._queue.add_after(job.id, step.again)
        else:
            self._queue.forget(job.id)
            # Whoever waits for others must still see its own time run out.
            left = _seconds_left(job, self._context.now())
            if left is not None and not job.state.final:
                self._queue.add_after(job.id, max(left, 0.01))

    async def _limit(self, job: Job, state: JobState) -> float | None:
        limit = self._context.settings.deadline(
            state, start_timeout=job.spec.start_timeout, elastic=job.partition is not None
        )
        if limit is not None and state is JobState.STAGING:
            limit += round(await restore_time(job, self._context))
        if limit is not None and state is JobState.STARTING and job.spec.kind is JobKind.BATCH:
            # Its port may take the first part of the time, and its node the second.
            limit += self._context.settings.node_lost_timeout
        return limit

    async def _deadline(self, job: Job, state: JobState, changes: JobChanges) -> dt.datetime | None:
        partition = changes.get("partition", job.partition)
        seconds = await self._limit(dataclasses.replace(job, partition=partition), state)
        return None if seconds is None else self._context.now() + dt.timedelta(seconds=seconds)

    def _entered(self, job: Job) -> None:
        self.log.info("Job %s of %s: %s (%s)", job.id, job.owner, job.state.value, job.node or "-")
        if job.state.final or job.state in (JobState.QUEUED, JobState.RUNNING):
            # Of a job that runs now, others may wait that it does.
            self._replan()
        if not job.state.final or job.cleanup_pending:
            self._queue.add(job.id)


def _seconds_left(job: Job, now: dt.datetime) -> float | None:
    return None if job.deadline is None else (job.deadline - now).total_seconds()
