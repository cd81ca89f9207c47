"""Parts of a file, as asked for by ``Range`` (RFC 9110, section 14), and its digest (RFC 9530)."""

from __future__ import annotations

import base64
import binascii
import re

from .errors import ApiError

_RANGE = re.compile(r"bytes=[ \t]*(\d{0,19})-(\d{0,19})[ \t]*")
_SHA256 = re.compile(r"(?:^|,)[ \t]*sha-256=:([A-Za-z0-9+/=]*):[ \t]*(?=,|$)")


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that are asked for; None: the whole file.

    Several ranges, other units and what is no range at all get the whole file too, which a client
    has to expect. Raises ApiError 416 for a range beyond the end.
    """
    match = _RANGE.fullmatch(header or "")
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if first and last and int(first) > int(last):
        return None
    if first:
        begin, end = int(first), min(int(last) + 1, size) if last else size
    else:
        begin, end = max(0, size - int(last)), size
    if begin >= size or end <= begin:
        message = f"Range ({header}): the file has {size} bytes."
        raise ApiError(416, "range", message, "Range", {"Content-Range": f"bytes */{size}"})
    return begin, end


def sha256_digest(header: str | None) -> bytes | None:
    """The SHA-256 that ``Repr-Digest`` names, if it names one. Raises ApiError 422."""
    match = _SHA256.search(header or "")
    if match is None:
        return None
    try:
        digest = base64.b64decode(match[1], validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        message = "Repr-Digest: sha-256 must be the base64 of 32 bytes between colons"
        raise ApiError(422, "invalid", message, "Repr-Digest")
    return digest
