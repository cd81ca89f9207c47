"""Arrays: one submission that makes a job for each index."""

from __future__ import annotations

import uuid
from typing import NamedTuple

MAX_TASKS = 10_000
"""Jobs that one array may have."""


class ArrayTasks(NamedTuple):
    """The indices of an array, ascending, and how many of its jobs may have a place at a time."""

    indices: tuple[int, ...]
    limit: int | None


def array_tasks(text: str) -> ArrayTasks:
    """The jobs that a text like ``0-9``, ``1,3,5``, ``0-20:5`` or ``0-99%4`` stands for.

    Raises
    ------
    ValueError
        It has the right form, but means nothing or too much.
    """
    listed, _, limit = text.partition("%")
    ranges = [_range(part) for part in listed.split(",")]
    if sum(map(len, ranges)) > MAX_TASKS:
        raise ValueError(f"an array has at most {MAX_TASKS} jobs")
    if limit and int(limit) == 0:
        raise ValueError("at least 1 job of the array must be allowed to run at a time")
    return ArrayTasks(tuple(sorted(set().union(*ranges))), int(limit) if limit else None)


def _range(part: str) -> range:
    span, _, step = part.partition(":")
    first, _, last = span.partition("-")
    if step and int(step) == 0:
        raise ValueError(f"the step of {part!r} must be at least 1")
    if last and int(last) < int(first):
        raise ValueError(f"{part!r} ends before it begins")
    return range(int(first), int(last or first) + 1, int(step or 1))


def task_id(array_id: str, index: int) -> str:
    """The id of any but the first job of an array."""
    return str(uuid.uuid5(uuid.UUID(array_id), str(index)))
