"""The bodies of the gate API, version 1: the values of the Gate contract as JSON.

Each is written field by field as :mod:`skyport_gates.values` names them. A field that one side does
not know is passed over, so that two releases can talk to each other.
"""

from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, Field, TypeAdapter

from ..gate import (
    Flavor,
    GateError,
    Image,
    Node,
    Partition,
    PartitionRequest,
    PartitionStatus,
    QuotaUse,
)
from .errors import ErrorBody, body_of, error_of

PREFIX = "/gate/v1"
"""Path below which the API lies."""

T = TypeVar("T")


class GateInfo(BaseModel):
    """``GET /gate/v1``: what is offered here."""

    name: str
    static: bool = Field(description="Whether its nodes are always there.")
    powers: list[str] = Field(description="Of Suspend, Spot and Quota.")
    call_timeout: float = Field(description="Seconds that a call may take.")
    spot_notice: float | None = None
    version: str


class CoreBody(BaseModel):
    """``PUT /gate/v1/cores/{core_id}``: the core for which the gate is to work."""

    user_ca: str = Field(max_length=16384, description="Public key, one OpenSSH line.")


class PartitionBody(BaseModel):
    """A partition as the gate shows it."""

    name: str
    status: PartitionStatus
    nodes: tuple[Node, ...] = ()
    error: ErrorBody | None = None
    tags: dict[str, str] = {}

    def value(self) -> Partition:
        """As the contract's value."""
        error = None if self.error is None else error_of(self.error)
        return Partition(self.name, self.status, self.nodes, error, self.tags)


FLAVORS: TypeAdapter[list[Flavor]] = TypeAdapter(list[Flavor])
IMAGES: TypeAdapter[list[Image]] = TypeAdapter(list[Image])
NODES: TypeAdapter[list[Node]] = TypeAdapter(list[Node])
QUOTAS: TypeAdapter[list[QuotaUse]] = TypeAdapter(list[QuotaUse])
PARTITION: TypeAdapter[PartitionBody] = TypeAdapter(PartitionBody)
PARTITIONS: TypeAdapter[list[PartitionBody]] = TypeAdapter(list[PartitionBody])
CORE: TypeAdapter[CoreBody] = TypeAdapter(CoreBody)
REQUEST: TypeAdapter[PartitionRequest] = TypeAdapter(PartitionRequest)


def to_json(value: object) -> str:
    """Any of the contract's values, or a list of them, as JSON."""
    return json.dumps(_plain(value))


def _plain(value: object) -> Any:
    if isinstance(value, GateError):
        return body_of(value).model_dump(mode="json")
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return value
