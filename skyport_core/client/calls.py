"""What the groups of calls share."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from urllib.parse import quote

from pydantic import BaseModel

from .transport import Transport


class Calls:
    """Base of each group of calls: the way to the core."""

    _transport: Transport


def job_path(job_id: str, *rest: str) -> str:
    """Path of something of a job."""
    return "/".join(("/jobs", quote(job_id, safe=""), *rest))


def arguments(query: BaseModel) -> list[tuple[str, str]]:
    """What a query asks for that is not its default; lists are repeated arguments."""
    asked = query.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    return [
        (name, argument(each))
        for name, value in asked.items()
        for each in (value if isinstance(value, (list, tuple)) else [value])
    ]


def argument(value: object) -> str:
    """A value as it stands in a query."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.value) if isinstance(value, Enum) else str(value)


def given(values: Iterable[tuple[str, object]]) -> list[tuple[str, str]]:
    """Arguments of a query, without those that are None."""
    return [(name, argument(value)) for name, value in values if value is not None]
