"""Bodies of requests: of which type they are, and JSON as a model."""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ApiError, from_fault

MOST_VALUES = 10_000
"""Values in a body of JSON; it takes some ten milliseconds to refuse each of so many."""

MARKS = (b",", b"[", b"{")
"""One of these stands before each value, or the name that it has in an object."""

SLICE = 2**18
"""Bytes of a body that are looked at together."""

MOST_VALUES = 10_000
"""Values in a body of JSON; it takes some ten milliseconds to refuse each of so many."""

MARKS = (b",", b"[", b"{")
"""One of these stands before each value, or the name that it has in an object."""

SLICE = 2**18
"""Bytes of a body that are looked at together."""

Model = TypeVar("Model", bound=BaseModel)


def media_type(given: str | None, *taken: str) -> str:
    """Which of the media types that are ``taken`` a body has.

    Raises ApiError 415 for any other, for none, and for text that is not UTF-8. A page of another
    site can have a browser send a body without a type, and no JSON that says what it is.
    """
    if given is None:
        message = f"Content-Type is missing: must be {' or '.join(taken)}"
        raise ApiError(415, "unsupported_media_type", message, "Content-Type")
    if given in taken:
        return given
    header = Message()
    header["Content-Type"] = re.sub(r"[^\x20-\x7e]", "?", given)
    charset = str(header.get_param("charset", "utf-8")).lower()
    # What cannot be read as a media type at all is text/plain to this parser.
    readable = re.match(r"\s*[\w.+-]+/[\w.+-]+\s*(;|$)", given)
    kind = header.get_content_type()
    if readable and kind in taken and charset in ("utf-8", "us-ascii"):
        return kind
    message = f"Content-Type ({given[:60]!r}): must be {' or '.join(taken)}, in UTF-8"
    raise ApiError(415, "unsupported_media_type", message, "Content-Type")


def read_json(body: bytes, model: type[Model]) -> Model:
    """JSON as ``model``, in which a number in quotes is no number. Raises ApiError 400, 413, 422.

    Pydantic lets no other thread work meanwhile, so that it must be little, also for a body that
    has nothing but faults.
    """
    if not has_few_values(body, MOST_VALUES):
        message = f"The body has more than {MOST_VALUES} values."
        raise ApiError(413, "too_large", message)
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        faults = error.errors(include_url=False)
    if any(one["type"] == "int_type" for one in faults):
        # To JSON, 2.0 is an integer.
        plain = json.dumps(json.loads(body, parse_float=_number))
        try:
            return model.model_validate_json(plain, strict=True)
        except ValidationError as error:
            faults = error.errors(include_url=False)
    # Not from within the block above: a traceback would repeat the input, which may be a secret.
    raise from_fault(faults[0], model)


def has_few_values(body: bytes, most: int) -> bool:
    """Whether JSON has at most so many values and strings; what is inside a string is none."""
    if sum(body.count(mark) for mark in MARKS) < most:
        return True
    quotes = marks = start = 0
    while start < len(body):
        part = body[start : start + SLICE]
        if (len(part) - len(part.rstrip(b"\\"))) % 2:
            # What it escapes belongs to it.
            part = body[start : start + SLICE + 1]
        start += len(part)
        part = part.replace(b"\\\\", b"").replace(b'\\"', b"")
        inside = quotes % 2
        quotes += part.count(b'"')
        if quotes > 4 * most:
            return False
        outside = b" ".join(part.split(b'"')[inside::2])
        marks += sum(outside.count(mark) for mark in MARKS)
        if marks > most:
            return False
    return True


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value
