"""Times in queries: written as ISO 8601, nothing else."""

from __future__ import annotations

import datetime as dt
import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator

_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _iso(value: Any) -> Any:
    """Numbers are no times here, although pydantic would take them for seconds since 1970."""
    if isinstance(value, str) and not _DAY.match(value):
        raise ValueError("must be written as in ISO 8601, such as 2026-01-31T09:30:00Z")
    return value


def _whole_day(value: Any) -> Any:
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("must be written as in ISO 8601, such as 2026-01-31")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_iso)]
"""A time with its offset from UTC."""

Day = Annotated[dt.date, BeforeValidator(_whole_day)]
"""A day."""
