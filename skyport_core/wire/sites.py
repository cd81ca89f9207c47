"""Sites, their nodes, and what was made there."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..model import Name, PartitionRecord, PartitionState


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
    count: int = 1
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


class PartitionQuery(BaseModel):
    """Query of ``GET /api/v1/partitions``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Name | None = Field(None, description="Only admins may name another than themselves.")


class PartitionList(BaseModel):
    """``GET /api/v1/partitions``."""

    partitions: list[PartitionView]
