"""What is wrong with a request, as its model finds it, in plain words."""

from __future__ import annotations

from pydantic import ValidationError

from ..jobscript.draft import ALLOWED, worded
from ..wire import JobSecrets

SHOWN = 60
"""Characters of a value that a message repeats."""

_SECRET = frozenset({*JobSecrets.model_fields, "command", "arguments", "script", "variables"})
"""Fields whose values may be secret, or long."""

_UNITS = {"memory": " MiB", "storage": " GiB", "walltime": " s"}


def complaint(error: ValidationError) -> str:
    """The first field at fault, and what is allowed there."""
    field, said = complained(error)
    return f"{field}: {said}" if field else said


def complained(error: ValidationError) -> tuple[str, str]:
    """Path of the first field at fault, and its value with what is allowed there."""
    first = error.errors(include_url=False, include_context=False)[0]
    path = [str(part) for part in first["loc"] if part != "[key]"]
    if not path:
        return "", worded(first["msg"])
    if first["type"] == "string_pattern_mismatch":
        said = ALLOWED.get(path[0], "has a character that cannot stand there")
    else:
        said = worded(first["msg"])
    told = first["type"] == "value_error" and not said.startswith("must")
    value = "" if told or path[0] in _SECRET else _shown(first["input"])
    unit = _UNITS.get(path[0], "") if value else ""
    return ".".join(path), f"{value}{unit}{' ' if value else ''}{said}{unit}"


def _shown(value: object) -> str:
    if not isinstance(value, (str, int, float)):
        return ""
    text = str(value) if not isinstance(value, str) else repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
