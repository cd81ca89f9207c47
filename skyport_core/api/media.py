"""Bodies of requests: of which type they are, and JSON as a model."""

from __future__ import annotations

import json
import re
from email.message import Message
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from .errors import ApiError

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
    """JSON as ``model``, in which a number in quotes is no number. Raises ValidationError."""
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        if not any(one["type"] == "int_type" for one in error.errors(include_url=False)):
            raise
    # To JSON, 2.0 is an integer.
    plain = json.dumps(json.loads(body, parse_float=_number))
    return model.model_validate_json(plain, strict=True)


def _number(text: str) -> float | int:
    value = float(text)
    return int(value) if value.is_integer() else value
