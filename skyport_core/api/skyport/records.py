"""The records of the original Sky Port's user protocol.

The field names, the words of the enumerations and the units (bytes) are those that its published
clients know; they raise an error for any other word.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

Letter = Literal["Q", "W", "T", "R", "F", "E", "C"]


class ResourceRecord(BaseModel):
    """An amount of something (memory and disk in bytes), or one thing by its name."""

    name: str
    count: int
    value: str | None = None


class JobRecord(BaseModel):
    """A job. Times are ISO 8601 in UTC, "" when there is none yet."""

    id: str
    name: str
    state: Letter
    state_details: str
    submit_time: str
    start_time: str
    end_time: str
    duration: int
    exitcode: int
    signal: int
    node_names: list[str]
    node_ips: list[str]
    remote_id: str
    flavor_id: str
    request: list[ResourceRecord]
    resources: list[ResourceRecord]
    comment: str


class FlavorRecord(BaseModel):
    """A node type of a site; ``price`` per node and hour, 0 when there is none."""

    id: str
    name: str
    remote_id: str
    resources: list[ResourceRecord]
    price: float


class ImageRecord(BaseModel):
    """An image of a site."""

    id: str
    name: str
    remote_id: str
    kind: Literal["cloud", "container"]
    comment: str


class RoleRecord(BaseModel):
    """What a node is for."""

    id: int
    name: str
    comment: str


class NodeRecord(BaseModel):
    """A node of a site."""

    id: str
    name: str
    host: str
    api_port: int
    state_power: Literal["up", "down"]
    state_alloc: Literal["idle", "busy", "stopped", "offline", "maint"]
    resources: list[ResourceRecord]
    roles: list[RoleRecord]


class RemoteRecord(BaseModel):
    """A site."""

    id: str
    name: str
    account_id: str
    server: str
    port: int
    kind: str
    default_image_id: str
    default_flavor_id: str
