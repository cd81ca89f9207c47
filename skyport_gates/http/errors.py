"""The errors of the Gate contract as HTTP answers, and back."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydantic import BaseModel

from ..gate import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    Preempted,
    QuotaExceeded,
    Scope,
    Shortage,
    Throttled,
)


class CallerRefused(NotAuthorized):
    """The server does not let the caller in, or not to this."""


class NothingThere(InvalidRequest):
    """The server has nothing at this path, or does not take this method there."""


class UnknownCore(GateUnavailable):
    """The server does not know the core that asks (any more): it has to introduce itself."""


CODES: Mapping[str, tuple[type[GateError], int]] = MappingProxyType(
    {
        "not_found": (NothingThere, 404),
        "invalid_request": (InvalidRequest, 422),
        "partition_not_found": (PartitionNotFound, 404),
        "no_capacity": (NoCapacity, 409),
        "quota_exceeded": (QuotaExceeded, 409),
        "shortage": (Shortage, 409),
        "preempted": (Preempted, 409),
        "throttled": (Throttled, 429),
        "configuration": (ConfigurationError, 502),
        "refused": (CallerRefused, 403),
        "not_authorized": (NotAuthorized, 502),
        "unknown_core": (UnknownCore, 404),
        "unavailable": (GateUnavailable, 503),
        "failed": (GateError, 500),
    }
)
"""Word for programs, class and HTTP status of each error; the first that fits is used."""


class ScopeBody(BaseModel):
    """Which offers an error speaks of; null stands for all."""

    flavors: list[str] | None = None
    region: str | None = None
    zone: str | None = None
    spot: bool | None = None


class ErrorBody(BaseModel):
    """An error of the contract."""

    code: str
    message: str
    hint: str = ""
    scope: ScopeBody | None = None
    retry_after: float | None = None


class ErrorAnswer(BaseModel):
    """Body of every answer that is not a success."""

    error: ErrorBody


def body_of(error: GateError) -> ErrorBody:
    """An error as it travels."""
    code = next(code for code, (kind, _) in CODES.items() if isinstance(error, kind))
    scope = getattr(error, "scope", None)
    return ErrorBody(
        code=code,
        message=error.message,
        hint=error.hint,
        scope=None if scope is None else _scope_body(scope),
        retry_after=getattr(error, "retry_after", None),
    )


def status_of(error: GateError) -> int:
    """The HTTP status of an error."""
    return CODES[body_of(error).code][1]


def error_of(body: ErrorBody) -> GateError:
    """The error that travelled; one of an unknown kind is a plain GateError."""
    kind, _ = CODES.get(body.code, (GateError, 500))
    if issubclass(kind, Shortage):
        scope = None if body.scope is None else _scope_of(body.scope)
        return kind(body.message, hint=body.hint, scope=scope, retry_after=body.retry_after)
    if issubclass(kind, Throttled):
        return Throttled(body.message, retry_after=body.retry_after or 30.0, hint=body.hint)
    return kind(body.message, hint=body.hint)


def _scope_body(scope: Scope) -> ScopeBody:
    flavors = None if scope.flavors is None else sorted(scope.flavors)
    return ScopeBody(flavors=flavors, region=scope.region, zone=scope.zone, spot=scope.spot)


def _scope_of(body: ScopeBody) -> Scope:
    flavors = None if body.flavors is None else frozenset(body.flavors)
    return Scope(flavors, body.region, body.zone, body.spot)
