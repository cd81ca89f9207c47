"""Requests and jobs for the store's tests."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from typing import Any

from skyport_core.model import Job, preferred_number
from skyport_core.store import Store
from skyport_core.wire import JobRequest

LATER = dt.timedelta(minutes=1)


def new_id() -> str:
    return str(uuid.uuid4())


def request(**fields: Any) -> JobRequest:
    return JobRequest(**{"command": ("sleep", "1"), **fields})


async def put(store: Store, now: dt.datetime, owner: str = "ada", **fields: Any) -> Job:
    """A new job."""
    job, created = await store.put_job(new_id(), owner, request(**fields), now)
    assert created
    return job


def colliding_ids(count: int) -> list[str]:
    """Different ids that all prefer one number, found by trying."""
    by_number: dict[int, list[str]] = {}
    for counter in itertools.count():
        job_id = str(uuid.UUID(int=counter))
        ids = by_number.setdefault(preferred_number(job_id), [])
        ids.append(job_id)
        if len(ids) == count:
            return ids
    raise AssertionError("unreachable")
