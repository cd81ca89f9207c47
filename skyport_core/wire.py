"""The bodies of the REST API, version 1: what the server validates and the client parses."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from .model import (
    EnvName,
    Event,
    Job,
    JobKind,
    JobSpec,
    JobState,
    Name,
    PartitionRecord,
    PartitionState,
    Text,
)

API_PREFIX = "/api/v1"


class FileUpload(BaseModel):
    """A small file to put into the job's folder before it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[str, StringConstraints(min_length=1, max_length=1024)] = Field(
        description="Relative to the job's own folder on the node."
    )
    content: str = Field(description="The bytes, base64.", max_length=16 * 2**20, repr=False)
    mode: int = Field(0o600, ge=0, le=0o777)

    @field_validator("path")
    @classmethod
    def _relative(cls, value: str) -> str:
        parts = value.split("/")
        if value.startswith("/") or any(part in ("", ".", "..") for part in parts) or "\0" in value:
            raise ValueError("must be a relative path without '.', '..' or empty parts")
        return value

    @field_validator("content")
    @classmethod
    def _base64(cls, value: str) -> str:
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"must be base64: {error}") from None
        return value

    @property
    def data(self) -> bytes:
        """The decoded bytes."""
        return base64.b64decode(self.content)


class JobSecrets(BaseModel):
    """The secret half of a request: kept encrypted, written to 0600 files, dropped at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: dict[EnvName, Text] = Field(
        default_factory=dict, repr=False, description="Environment of the job, taken literally."
    )
    environment_templates: dict[EnvName, Text] = Field(
        default_factory=dict,
        repr=False,
        description=(
            "Environment whose values may hold {address} and {port} (where the job must listen), "
            "{job_dir} (its folder on the node) and {forward:NAME} (host:port of a forward)."
        ),
    )
    files: tuple[FileUpload, ...] = Field(default=(), repr=False, max_length=256)


class JobRequest(JobSpec, JobSecrets):
    """Body of ``PUT /api/v1/jobs/{id}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Name | None = Field(
        None, description="Whose job it is; only a trusted caller may name another than itself."
    )

    def spec(self) -> JobSpec:
        """The part that is stored in the clear."""
        return JobSpec.model_validate(self.model_dump(include=set(JobSpec.model_fields)))

    def secrets(self) -> JobSecrets:
        """The part that is stored encrypted."""
        return JobSecrets.model_validate(self.model_dump(include=set(JobSecrets.model_fields)))


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
            flavor=spec.flavor,
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
            position=job.position,
            wait_reason=job.wait_reason,
            exit_code=job.exit_code,
            failure=FailureView(**vars(job.failure)) if job.failure else None,
            created_at=job.created_at,
            started_at=job.started_at,
            expires_at=job.expires_at,
            ended_at=job.ended_at,
            version=job.version,
        )


class JobList(BaseModel):
    """``GET /api/v1/jobs``."""

    jobs: list[JobView]


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


class FlavorView(BaseModel):
    """A node type at a site, in one region of it, with what is free of it now.

    ``cpus``, ``memory`` (MiB), ``gpus`` and ``storage`` (GiB) are those of one node; ``free_*`` is
    the most that one job could get at once on nodes that exist; ``price`` and ``spot_price`` are
    per node and hour in ``currency``, null when there is none or it is not known. ``spot``:
    whether it can be had as a spot node. ``available`` is false while it cannot be made, and
    ``reason`` then says why.
    """

    site: str
    name: str
    description: str
    cpus: float
    memory: int
    gpus: int
    gpu_type: str
    storage: int = 0
    labels: dict[str, str] = {}
    region: str = ""
    zones: list[str] = []
    price: float | None
    spot: bool = False
    spot_price: float | None = None
    currency: str = "USD"
    suspendable: bool = False
    available: bool = True
    reason: str = ""
    capacity: int | None
    available_nodes: int | None
    free_cpus: float | None
    free_memory: int | None
    free_gpus: int | None


class NodeView(BaseModel):
    """A node of a site with its health, reservations and jobs."""

    site: str
    name: str
    flavor: str
    cpus: float
    memory: int
    gpus: int
    free_cpus: float
    free_memory: int
    free_gpus: int
    labels: dict[str, str]
    state: str = Field(description="'up', 'down' or 'drained'")
    reason: str
    jobs: list[str]


class FlavorList(BaseModel):
    """``GET /api/v1/flavors``: a page; ``next`` is the ``after`` of the page that follows."""

    flavors: list[FlavorView]
    total: int = Field(0, description="How many match, on all pages.")
    next: str | None = None


class FlavorQuery(BaseModel):
    """Query of ``GET /api/v1/flavors``: only what matches all that is given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    site: str | None = None
    region: str | None = None
    name: str | None = Field(None, description="Part of the name, in any case.")
    min_cpus: float | None = Field(None, ge=0)
    min_memory: int | None = Field(None, ge=0, description="MiB.")
    min_gpus: int | None = Field(None, ge=0)
    gpu_type: str | None = Field(None, description="Part of the GPU's name, in any case.")
    max_price: float | None = Field(None, ge=0, description="Per hour; of spot if spot is true.")
    spot: bool | None = Field(None, description="true: only what can be had as a spot node.")
    available: bool | None = Field(None, description="true: only what can be made now.")
    sort: Literal["price", "spot_price", "name", "cpus", "memory"] = "price"
    limit: int = Field(1000, ge=1, le=10_000, description="Length of the page.")
    after: str | None = Field(None, description="``next`` of the page before.")


class ImageView(BaseModel):
    """An image that nodes of a site can boot."""

    site: str
    name: str
    kind: str
    description: str


class ImageList(BaseModel):
    """``GET /api/v1/images``."""

    images: list[ImageView]


class QuotaView(BaseModel):
    """A limit of the account behind a site."""

    site: str
    name: str
    description: str
    region: str
    used: float
    limit: float
    unit: str


class QuotaList(BaseModel):
    """``GET /api/v1/quotas``."""

    quotas: list[QuotaView]


class PartitionView(BaseModel):
    """Nodes that were made for a job, as the core's own record says.

    ``keep`` is the name under which the owner keeps them between jobs ("": not at all), and
    ``expires_at`` is when sleeping ones are deleted.
    """

    name: str
    site: str
    owner: str
    job_id: str
    flavor: str
    region: str
    zone: str
    spot: bool
    price: float | None
    keep: str
    state: PartitionState
    target: PartitionState
    created_at: dt.datetime
    state_since: dt.datetime
    expires_at: dt.datetime | None
    reason: str
    error: str

    @classmethod
    def of(cls, record: PartitionRecord) -> PartitionView:
        """The public view of a record."""
        same = {name: getattr(record, name) for name in cls.model_fields if name != "expires_at"}
        sleeping = record.state is PartitionState.SUSPENDED
        return cls(**same, expires_at=record.deadline if sleeping else None)


class PartitionList(BaseModel):
    """``GET /api/v1/partitions``."""

    partitions: list[PartitionView]


class NodeList(BaseModel):
    """``GET /api/v1/nodes``."""

    nodes: list[NodeView]


class NodePatch(BaseModel):
    """Body of ``PATCH /api/v1/nodes/{site}/{name}``."""

    model_config = ConfigDict(extra="forbid")

    drained: bool
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""


class SiteView(BaseModel):
    """A gate's site: what runs it and whether it answers."""

    name: str
    gate: str
    available: bool
    reason: str
    nodes: int | None
    running_jobs: int


class SiteList(BaseModel):
    """``GET /api/v1/sites``."""

    sites: list[SiteView]


class Health(BaseModel):
    """``GET /api/v1/health``."""

    status: str
    version: str
    core_id: str
    uptime: float = Field(description="Seconds since the core started.")
    jobs: dict[str, int] = Field(description="Number of jobs in each state that is not final.")


class ErrorBody(BaseModel):
    """The inside of every error answer."""

    code: str
    message: str
    field: str | None = None


class ErrorView(BaseModel):
    """Every error answer of the API."""

    error: ErrorBody
