"""Jobs and their events, as the API shows them."""

from __future__ import annotations

import datetime as dt

from pydantic import BaseModel, ConfigDict, Field

from ..model import (
    Dependency,
    Event,
    Job,
    JobId,
    JobKind,
    JobState,
    Label,
    Name,
    Slug,
)
from .times import Moment


class Address(BaseModel):
    """Where a terminal on the core's side connects to reach the job's port."""

    host: str
    port: int


class FailureView(BaseModel):
    """Why a job failed, in words a user may see."""

    reason: str
    message: str
    hint: str = ""
    log_tail: str = ""


class JobView(BaseModel):
    """A job as the API shows it."""

    id: str
    owner: str
    name: str
    kind: JobKind
    state: JobState
    target: JobState
    site: str | None
    flavor: str | None
    node: str | None
    partition: str | None = None
    region: str | None = None
    spot: bool | None = False
    keep: str | None = None
    cpus: float | None
    memory: int | None
    gpus: int
    walltime: int | None
    address: Address | None
    position: int | None
    wait_reason: str
    exit_code: int | None
    failure: FailureView | None
    created_at: dt.datetime
    started_at: dt.datetime | None
    expires_at: dt.datetime | None
    ended_at: dt.datetime | None
    version: int
    comment: str = ""
    account: str | None = None
    nodes: int = 1
    image: str | None = None
    container: str | None = None
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    dependencies: tuple[Dependency, ...] = ()
    held: bool = False
    scripted: bool = False
    attempt: int = 0
    array: str | None = Field(None, description="Id of the array that the job is one of.")
    array_index: int | None = None
    price: float | None = Field(None, description="Of its place, per node and hour.")
    currency: str = ""

    @classmethod
    def of(cls, job: Job) -> JobView:
        """The public view of a stored job."""
        spec, held = job.spec, job.reserved
        return cls(
            id=job.id,
            owner=job.owner,
            name=spec.name,
            kind=spec.kind,
            state=job.state,
            target=job.target,
            site=job.site or spec.site,
            flavor=job.flavor or spec.flavor,
            node=job.node,
            partition=job.partition,
            region=spec.region,
            spot=spec.spot,
            keep=spec.keep,
            cpus=held.cpus if held else spec.cpus,
            memory=held.memory if held else spec.memory,
            gpus=held.gpus if held else spec.gpus,
            walltime=spec.walltime,
            address=Address(host=job.listen[0], port=job.listen[1]) if job.listen else None,
            # Those of former releases that have ended may still have these.
            position=None if job.state.final else job.position,
            wait_reason="" if job.state.final else job.wait_reason,
            exit_code=job.exit_code,
            failure=FailureView(**vars(job.failure)) if job.failure else None,
            created_at=job.created_at,
            started_at=job.started_at,
            expires_at=job.expires_at,
            ended_at=job.ended_at,
            version=job.version,
            comment=spec.comment,
            account=spec.account,
            nodes=spec.nodes,
            image=spec.image,
            container=spec.container,
            inputs=spec.inputs,
            outputs=spec.outputs,
            dependencies=spec.dependencies,
            held=job.held and not job.state.final,
            scripted=job.scripted,
            attempt=job.attempt,
            array=job.array_id,
            array_index=job.array_index,
            price=job.price,
            currency=job.currency,
        )


class JobQuery(BaseModel):
    """Query of ``GET /api/v1/jobs``: only what matches all that is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Name | None = Field(None, description="Only admins may name another than themselves.")
    state: tuple[JobState, ...] = Field(default=(), description="May be given several times.")
    kind: JobKind | None = None
    name: Label | None = Field(None, description="Exactly this name.")
    site: Slug | None = Field(None, description="Placed at this site.")
    array: JobId | None = Field(None, description="The jobs of this array.")
    submitted_after: Moment | None = None
    submitted_before: Moment | None = None
    limit: int = Field(100, ge=1, le=1000, description="Length of the page.")
    after: JobId | None = Field(None, description="``next`` of the page before.")


class CancelQuery(BaseModel):
    """Query of ``DELETE /api/v1/jobs/{id}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    array: bool = Field(False, description="Cancel all jobs of its array.")


class JobList(BaseModel):
    """``GET /api/v1/jobs``: a page, newest first; ``next`` is the ``after`` of the one behind."""

    jobs: list[JobView]
    next: str | None = None


class JobPatch(BaseModel):
    """Body of ``PATCH /api/v1/jobs/{id}``: what is to change, as long as it can."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    walltime: int | None = Field(
        None,
        gt=0,
        le=366 * 86400,
        description="Seconds the job may run, from its start; of a running job only more.",
    )
    held: bool | None = Field(None, description="false: release it; true: hold it in the queue.")
    name: Label | None = None
    comment: Label | None = None


class EventQuery(BaseModel):
    """Query of ``GET /api/v1/jobs/{id}/events``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    after: int | None = Field(
        None, ge=0, lt=2**63, description="Number of the last event that the caller has."
    )
    follow: bool = Field(True, description="false: end after the events that exist.")


class EventView(BaseModel):
    """One event of a job; ``seq`` is what ``?after=`` and ``Last-Event-ID`` refer to."""

    seq: int
    time: dt.datetime
    state: JobState
    progress: int
    message: str
    reason: str = ""
    hint: str = ""

    @classmethod
    def of(cls, event: Event) -> EventView:
        """The public view of a stored event."""
        return cls(
            seq=event.seq,
            time=event.time,
            state=event.state,
            progress=event.progress,
            message=event.message,
            reason=event.reason,
            hint=event.hint,
        )
