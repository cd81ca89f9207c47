"""What the texts mean that the original gate answers instead of errors."""

from __future__ import annotations

import re

from ..gate import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    QuotaExceeded,
)

_KNOWN: tuple[tuple[str, type[GateError], str], ...] = (
    (r"quota", QuotaExceeded, "The account's quota does not allow this"),
    (
        r"SkuNotAvailable|AllocationFailed|OverconstrainedAllocation|not enough capacity|No valid "
        r"host",
        NoCapacity,
        "The cloud has no room for this now",
    ),
    (
        r"No subscription ID|No tenant ID|No app ID|Not enough parameters|is not specified",
        ConfigurationError,
        "The gate's own configuration is not complete",
    ),
    (
        r"AuthorizationFailed|AADSTS|Authentication|Unauthorized|invalid_client|pem",
        NotAuthorized,
        "The cloud refuses the gate's credential",
    ),
    (
        r"InvalidParameter|InvalidTemplate|not a valid|is invalid|BadRequest|not found",
        InvalidRequest,
        "The cloud refuses the request",
    ),
)

SHOWN = 300
"""Characters of the gate's own words that a message repeats."""


def meaning(told: str | list[str]) -> GateError:
    """The error behind a text, or behind the lines of a traceback.

    Of a traceback only the last line is for people; all of it goes to the log as the cause.
    """
    lines = [told] if isinstance(told, str) else [str(line) for line in told]
    whole = "".join(lines)
    last = next((line.strip() for line in reversed(whole.splitlines()) if line.strip()), "")
    words = last[:SHOWN] or "no reason given"
    for pattern, kind, sentence in _KNOWN:
        if re.search(pattern, whole, re.IGNORECASE):
            error = kind(f"{sentence}: {words}")
            break
    else:
        error = GateUnavailable(f"The gate failed: {words}", hint="Its own log tells more.")
    error.__cause__ = GateTold(whole)
    return error


class GateTold(Exception):
    """All that the gate said, for the log."""
