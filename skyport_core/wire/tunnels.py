"""The ports that are carried between jobs and the core."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ..model import Name
from .jobs import Address


class TunnelQuery(BaseModel):
    """Query of ``GET /api/v1/tunnels``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Name | None = Field(None, description="Only admins may name another than themselves.")


class TunnelView(BaseModel):
    """A port that is carried over SSH: ``in`` to the core, ``out`` to the node."""

    job: str
    owner: str
    direction: Literal["in", "out"]
    name: str = Field(description="Of the forward; of the way in, the port.")
    listen: Address = Field(description="Where connections are taken: at the core, or on the node.")
    target: Address = Field(description="Where they lead to.")
    site: str
    node: str
    up: bool = Field(description="Whether the connection to the node stands.")
    connections: int = Field(description="Open now.")


class TunnelList(BaseModel):
    """``GET /api/v1/tunnels``."""

    tunnels: list[TunnelView]
