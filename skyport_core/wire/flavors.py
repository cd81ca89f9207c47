"""Node types and images on offer, and the limits of accounts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


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
