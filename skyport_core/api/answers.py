"""Answers of operations, as OpenAPI writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel

from ..wire import ErrorView
from .operation import Body, Header, Operation

Json = dict[str, Any]
References = Mapping[Any, Json]
"""Where the schemas of models stand, by model and mode."""

COMMON_ERRORS = (400, 401, 403, 414, 422, 429, 503)
"""What any operation may refuse with."""

REQUEST_ID = Header("X-Request-Id", "Stands in the core's log; the caller may choose it.", True)
RETRY_AFTER = Header("Retry-After", "Seconds to wait before the next try.", True, "^[0-9]+$")
ETAG = Header("ETag", "The version of what is shown, for `If-Match` and `If-None-Match`.", True)

_WORDS = {
    101: "The connection is a WebSocket now",
    304: "As the caller knows it already",
    401: "No credentials, or ones that are not valid (any more)",
    403: "Not the caller's to do",
    404: "There is no such thing, or it is not the caller's to see",
    409: "The state of things does not allow it; the message says why",
    412: "It has changed since the caller looked",
    422: "A field or an argument is not valid; the message names it and says what is",
    426: "Only for clients that ask for a WebSocket",
    429: "Too many requests; `Retry-After` says when to come back",
    503: "Not now; the message says why",
}


def is_model(body: Body) -> bool:
    """Whether a body is JSON of a model."""
    return isinstance(body, type) and issubclass(body, BaseModel)


def data(media: str) -> Json:
    """The schema of what is not described by a model."""
    if media in _KNOWN:
        return _KNOWN[media]
    return {"type": "string"} if media.startswith("text/") else _BINARY


def answers(operation: Operation, method: str, named: bool, references: References) -> Json:
    """All answers of an operation; ``named`` tells whether its path holds names."""
    looks = operation.etag and method in ("get", "head")
    found: Json = {}
    for status, body in operation.answers.items():
        headers = [*operation.returns]
        headers += [ETAG] if operation.etag and body is not None else []
        found[str(status)] = _answer(status, headers, _content(body, references))
    if looks:
        found["304"] = _answer(304, [ETAG], {})
    for status in statuses(operation, named):
        found.setdefault(str(status), {"$ref": f"#/components/responses/{_name(status)}"})
    return dict(sorted(found.items()))


def refusals(statuses: Iterable[int], references: References) -> Json:
    """The refusals, which all operations share."""
    content = _content(ErrorView, references)
    return {
        _name(status): _answer(status, [RETRY_AFTER] if status == 429 else [], content)
        for status in sorted(statuses)
    }


def statuses(operation: Operation, named: bool) -> set[int]:
    """The statuses of an operation's refusals; ``named``: its path holds names."""
    found = {*COMMON_ERRORS, *operation.errors}
    names = {header.name for header in operation.headers}
    follow = {
        404: named,
        412: "If-Match" in names,
        413: bool(operation.body or operation.bodies),
        415: bool(operation.body or operation.bodies),
        416: "Range" in names,
        426: operation.websocket,
    }
    return found | {status for status, told in follow.items() if told}


def _answer(status: int, headers: Iterable[Header], content: Json) -> Json:
    answer: Json = {
        "description": _WORDS.get(status, HTTPStatus(status).phrase),
        "headers": {header.name: _header(header) for header in (REQUEST_ID, *headers)},
    }
    return {**answer, "content": content} if content else answer


def _header(header: Header) -> Json:
    schema = {"type": "string"} | ({"pattern": header.pattern} if header.pattern else {})
    return {"description": header.description, "required": header.required, "schema": schema}


def _content(body: Body, references: References) -> Json:
    if body is None:
        return {}
    if is_model(body):
        return {"application/json": {"schema": references[body, "serialization"]}}
    return {str(body): {"schema": data(str(body))}}


def _name(status: int) -> str:
    return HTTPStatus(status).phrase.title().replace(" ", "").replace("-", "")


_BINARY: Json = {"type": "string", "format": "binary"}

_KNOWN: Mapping[str, Json] = {
    "application/json": {"type": "object"},
    "application/x-pem-file": {"type": "string"},
    # One event of the stream.
    "text/event-stream": {
        "type": "object",
        "properties": {
            "id": {"type": "string", "description": "Number of the event."},
            "event": {"enum": ["job", "end"]},
            "data": {"type": "string", "contentMediaType": "application/json"},
            "retry": {},
        },
    },
}
