"""Errors of the API and how validation errors are put into words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from ..jobscript.draft import ALLOWED
from ..model import EnvName, HostPort, JobId, Label, Name, Slug, Text
from ..model.spec import ArrayText
from ..service import ServiceError
from ..wire import JobSecrets

OPAQUE_FIELDS = frozenset({*JobSecrets.model_fields, "command"})
"""Fields whose values may be secret and never come back in a message."""

SHOWN_LENGTH = 60
"""Characters of a refused value that a message repeats."""

LATER = 600
"""Seconds after which to come back when one has too much of something."""

LONGEST_NAME = 255
"""Characters of the longest name."""


class ApiError(Exception):
    """An answer other than success.

    Parameters
    ----------
    status : int
        HTTP status.
    code : str
        A word for programs.
    message : str
        For people: names the thing, the cause and what is allowed.
    field : str, optional
        Path of the field at fault, such as ``files.0.path``.
    headers : mapping, optional
        Further headers of the answer, such as ``Retry-After``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.headers = dict(headers or {})
        self.status = status
        self.code = code
        self.message = message
        self.field = field


def from_validation(
    error: ValidationError, model: type[BaseModel], noun: str = "field"
) -> ApiError:
    """The first complaint of pydantic as a 400 (not JSON at all) or 422 (not this model).

    ``noun`` is what the model consists of, for people: fields, or arguments of a query.
    """
    return from_fault(error.errors(include_url=False)[0], model, noun)


def from_fault(first: ErrorDetails, model: type[BaseModel], noun: str = "field") -> ApiError:
    """The same for one of pydantic's complaints."""
    if first["type"] == "json_invalid":
        return ApiError(400, "invalid_json", f"The body is not valid JSON: {first['msg']}")
    path = [part for part in first["loc"] if part != "[key]"]
    if noun == "argument":
        path = path[:1]  # one that is given several times has no other name
    field = ".".join(str(part) for part in path)
    if not field and "field" in first.get("ctx", {}):
        # A rule about several fields together says which of them to name.
        field = str(first["ctx"]["field"])
        return _invalid(f"{field}: {_allowed(first)}", field)
    if not field:
        return _invalid("The body must be a JSON object", None)
    if first["type"] == "missing":
        return _invalid(f"{field}: this {noun} is required", field)
    if first["type"] == "extra_forbidden":
        names = ", ".join(sorted(model.model_fields)) or "none"
        known = f"; known are {names}" if len(path) == 1 else ""
        return _invalid(f"{field[:SHOWN_LENGTH]}: unknown {noun}{known}", field[:SHOWN_LENGTH])
    shown = _shown(first["input"]) if _open(path, model) else ""
    return _invalid(f"{field}{shown}: {_allowed(first)}", field)


def from_query(error: ValidationError, name: str) -> ApiError:
    """A refused argument of the query as a 422."""
    first = error.errors(include_url=False)[0]
    return _invalid(f"{name}{_shown(first['input'])}: {_allowed(first)}", name)


def answer_to(error: object, status: int, request_id: str, path: str) -> ApiError:
    """What is told of an error, or of a status that Tornado chose."""
    path = path[:200]
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ServiceError):
        later = {"Retry-After": str(LATER)} if error.status == 429 else None
        return ApiError(error.status, error.code, error.message, error.field, headers=later)
    if status == 405:
        return ApiError(405, "method_not_allowed", f"{path} does not take this method.")
    if status < 500:
        phrase = HTTPStatus(status).phrase
        return ApiError(status, phrase.lower().replace(" ", "_"), f"{phrase}: {path}")
    message = f"Something went wrong inside the core; its log tells more under id {request_id}."
    return ApiError(500, "internal", message)


def checked_name(text: str) -> str:
    """A name from the path that something may bear; raises KeyError for what nothing can."""
    if not 0 < len(text) <= LONGEST_NAME or not text.isprintable():
        raise KeyError(text)
    return text


def _invalid(message: str, field: str | None) -> ApiError:
    return ApiError(422, "invalid", message, field)


_PLAIN = {
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "dict_type": "must be an object",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a smaller whole number",
    "int_type": "must be a whole number",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "string_type": "must be text",
    "tuple_type": "must be a list",
}
"""What is allowed, by pydantic's names of complaints, where its own words are those of Python."""


_MATCHES = {
    TypeAdapter(kind).json_schema()["pattern"]: words
    for kind, words in (
        (JobId, "must be the id of a job: a UUID in lower case with hyphens"),
        (Slug, ALLOWED["site"]),
        (Name, "must have no control characters, and not be empty"),
        (Label, "must have no control characters"),
        (Text, "must not contain the character NUL"),
        (EnvName, "must be a name of letters, digits and '_'"),
        (HostPort, "must be HOST:PORT"),
        (ArrayText, ALLOWED["array"]),
    )
}
"""What is allowed, by the pattern that says it."""


def _allowed(fault: ErrorDetails) -> str:
    """Pydantic's message as the end of a sentence that begins with the field's name."""
    message, kind = fault["msg"], fault["type"]
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind == "string_pattern_mismatch":
        known = _MATCHES.get(fault.get("ctx", {}).get("pattern", ""))
        if known is not None:
            return known
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    return re.sub(r"^\w+ should ", "must ", message)


def _open(path: Sequence[int | str], model: type[BaseModel]) -> bool:
    """Whether the value at ``path`` cannot be a secret and may be repeated."""
    if path[0] == "files":
        return len(path) == 3 and path[2] in ("path", "mode")
    return path[0] in model.model_fields and path[0] not in OPAQUE_FIELDS


def _shown(value: object) -> str:
    if not isinstance(value, (str, int, float)):
        return ""
    text = repr(value)
    return f" ({text if len(text) <= SHOWN_LENGTH else text[:SHOWN_LENGTH] + '…'})"
