"""What jobs used and cost."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..model import Name, Slug
from .times import Day

UsageKey = Literal["owner", "account", "site", "flavor", "day"]


class UsageQuery(BaseModel):
    """Query of ``GET /api/v1/usage``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    since: Day | None = Field(None, description="First day (UTC); null: 30 days ago.")
    until: Day | None = Field(None, description="Last day (UTC); null: today.")
    owner: Name | None = Field(None, description="Only admins may name another than themselves.")
    account: Slug | None = None
    site: Slug | None = None
    by: tuple[UsageKey, ...] = Field(
        default=("owner", "site", "day"),
        max_length=5,
        description="What rows are told apart by; may be given several times.",
    )


class UsageView(BaseModel):
    """What was used in one group; what rows are not told apart by is null.

    Time counts from when a job got its place until it gave it back. ``node_hours`` count a node
    that jobs share by the part of it that each held; ``cost`` in ``currency`` is that of the
    nodes' prices, null where none is known.
    """

    owner: str | None = None
    account: str | None = None
    site: str | None = None
    flavor: str | None = None
    day: dt.date | None = None
    jobs: int
    job_hours: float
    node_hours: float
    cpu_hours: float
    gpu_hours: float
    cost: float | None = None
    currency: str = ""


class UsageList(BaseModel):
    """``GET /api/v1/usage``."""

    since: dt.date
    until: dt.date
    usage: list[UsageView]
