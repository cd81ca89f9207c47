"""How a script comes: in a form, as the published client sends it, or as the body itself."""

from __future__ import annotations

import re
from email.message import Message

from tornado.httputil import HTTPFile, HTTPInputError, parse_multipart_form_data

from ..errors import ApiError

FIELD = "script_content"

_FORM = re.compile(
    rb'--([^\r\n]{1,70})\r\nContent-Disposition: form-data; name="script_content"', re.I
)


def script_of(body: bytes, content_type: str) -> str:
    """The script in a request. Raises ApiError 400.

    A form is known by its Content-Type, or by its first lines where a client leaves that out;
    any other body is the script, whatever type it claims to be (``curl --data`` claims a form).
    """
    boundary = _boundary(content_type)
    if boundary is None:
        match = _FORM.match(body)
        boundary = match[1] if match else None
    script = body if boundary is None else _part(body, boundary)
    if not script.strip():
        raise ApiError(400, "bad_request", "There is no script in the request.", "script")
    try:
        return script.decode()
    except UnicodeDecodeError as error:
        line = script.count(b"\n", 0, error.start) + 1
        message = f"line {line}: the script must be UTF-8"
        raise ApiError(400, "bad_request", message, "script") from None


def _boundary(content_type: str) -> bytes | None:
    header = Message()
    header["Content-Type"] = re.sub(r"[^\x20-\x7e]", "?", content_type)
    if header.get_content_type() != "multipart/form-data":
        return None
    boundary = header.get_param("boundary")
    if not isinstance(boundary, str) or not boundary:
        raise ApiError(400, "bad_request", "Content-Type: multipart/form-data needs a boundary")
    return boundary.encode()


def _part(body: bytes, boundary: bytes) -> bytes:
    fields: dict[str, list[bytes]] = {}
    files: dict[str, list[HTTPFile]] = {}
    try:
        parse_multipart_form_data(boundary, body, fields, files)
    except HTTPInputError as error:
        raise ApiError(400, "bad_request", f"The form cannot be read: {error}") from None
    found: list[bytes] = [*fields.get(FIELD, ()), *(file.body for file in files.get(FIELD, ()))]
    if len(found) != 1:
        raise ApiError(400, "bad_request", f"The form must have one part {FIELD!r}.", FIELD)
    return found[0]
