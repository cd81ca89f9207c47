"""What an operation of the API takes and answers, written beside the method that does it.

The OpenAPI document is made from this, and so is what a client may rely on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pydantic import BaseModel

Method = TypeVar("Method", bound=Callable[..., Any])

Body = type[BaseModel] | str | None
"""A model, a media type for bytes ("application/octet-stream"), or nothing."""


@dataclass(frozen=True)
class Header:
    """A header that an operation looks at or answers with."""

    name: str
    description: str
    required: bool = False
    pattern: str | None = None


@dataclass(frozen=True)
class Operation:
    """One method of one route.

    Attributes
    ----------
    summary
        One line.
    query, body
        Models of the query and of the request's body; ``bodies`` are other media types that are
        taken instead of JSON, each with its description.
    answers
        What comes back, by status.
    errors
        Statuses of refusals besides those that any operation may give (``answers.COMMON_ERRORS``)
        and those that follow from what it takes: 404 for names in the path, 413 and 415 for a body,
        412 for ``If-Match``.
    headers
        Request headers with a meaning.
    returns
        Headers of its successful answers.
    etag
        Whether it answers with an ``ETag``; a GET then heeds ``If-None-Match`` (304).
    admin
        Whether only admins may use it.
    websocket
        Whether the answer switches to the WebSocket protocol; it is described, but no plain HTTP
        client can use it.
    """

    summary: str
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    bodies: Mapping[str, str] = field(default_factory=dict)
    answers: Mapping[int, Body] = field(default_factory=lambda: {200: None})
    errors: tuple[int, ...] = ()
    headers: tuple[Header, ...] = ()
    returns: tuple[Header, ...] = ()
    etag: bool = False
    admin: bool = False
    websocket: bool = False


def operation(summary: str, **details: Any) -> Callable[[Method], Method]:
    """Describe a handler's method (``get``, ``put`` …); see :class:`Operation`."""
    described = Operation(summary, **details)

    def mark(method: Method) -> Method:
        method.operation = described  # type: ignore[attr-defined]
        return method

    return mark


def operation_of(method: Callable[..., Any] | None) -> Operation | None:
    """What a method was described as; None if it was not."""
    found: Operation | None = getattr(method, "operation", None)
    return found
