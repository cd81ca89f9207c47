"""What is wrong with a request, as its model finds it, in plain words."""

from __future__ import annotations

from pydantic import ValidationError

from ..jobscript.draft import ALLOWED, worded


def complaint(error: ValidationError) -> str:
    """The first field at fault, and what is allowed there."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = [str(part) for part in first["loc"] if part != "[key]"]
    if not path:
        return worded(first["msg"])
    if first["type"] == "string_pattern_mismatch":
        said = ALLOWED.get(path[0], "has a character that cannot stand there")
    else:
        said = worded(first["msg"])
    return f"{'.'.join(path)}: {said}"
