"""Storing an array: thousands of jobs that differ in little.

Others wait for the transaction meanwhile, and the event loop for what is done beside it. So the
jobs are worked out before it, only the first is written as a row of its own, and the database
itself makes the others of that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa

from ..model import Job, array_tasks, preferred_number, task_id
from .errors import Different
from .intake import Draft, insert_drafts
from .numbers import free_numbers
from .tables import events, job_ids, job_secrets, jobs

Item = TypeVar("Item")

SLICE = 500
"""Rows of one statement."""


@dataclass(frozen=True)
class Task:
    """What is its own of one job of an array."""

    id: str
    index: int
    number: int


@dataclass(frozen=True)
class ArrayDraft:
    """An array that is ready to be stored.

    Attributes
    ----------
    first
        What is stored of its first job, which has its id; ``tasks`` are all, in order.
    """

    first: Draft
    tasks: Sequence[Task]


def first_of_array(job: Job) -> Job:
    """The first job of the array that a job's specification asks for."""
    assert job.spec.array is not None  # noqa: S101 (typing)
    indices, limit = array_tasks(job.spec.array)
    return dataclasses.replace(job, array_id=job.id, array_index=indices[0], array_limit=limit)


def array_draft(first: Draft) -> ArrayDraft:
    """The array that a first job belongs to. Takes a while; for a thread."""
    job = first.job
    assert job.spec.array is not None  # noqa: S101 (typing)
    indices = array_tasks(job.spec.array).indices
    ids = [job.id, *(task_id(job.id, index) for index in indices[1:])]
    tasks = zip(ids, indices, strict=True)
    return ArrayDraft(first, [Task(each, index, preferred_number(each)) for each, index in tasks])


def insert_array(connection: sa.Connection, draft: ArrayDraft) -> Job | None:
    """Store an array; its first job, or None when its id is known already.

    Raises
    ------
    Different
        The id of another of its jobs is known already.
    IntegrityError
        Another core took one of the numbers at the same time.
    """
    first = draft.first
    known = _known(connection, [task.id for task in draft.tasks])
    if first.job.id in known:
        return None
    if known:
        raise Different("The id of a job of this array belongs to another job; use a new one.")
    numbers = free_numbers(connection, [task.number for task in draft.tasks])
    tasks = [
        task if number == task.number else dataclasses.replace(task, number=number)
        for task, number in zip(draft.tasks, numbers, strict=True)
    ]
    job = dataclasses.replace(first.job, number=tasks[0].number)
    insert_drafts(connection, [dataclasses.replace(first, job=job)])
    if len(tasks) > 1:
        _insert_others(connection, job.id, tasks[1:])
    return job


def _known(connection: sa.Connection, ids: Sequence[str]) -> set[str]:
    query = sa.select(job_ids.c.id).where(job_ids.c.id.in_(sa.bindparam("ids", expanding=True)))
    return {each for some in _slices(ids) for each in connection.scalars(query, {"ids": some})}


def _insert_others(connection: sa.Connection, array_id: str, tasks: Sequence[Task]) -> None:
    """Make the rows of the other jobs of those that the first one has."""
    each = _table_of(connection, tasks)
    number = each.c.value[2].as_integer()
    own: dict[str, sa.ColumnElement[Any]] = {
        "id": each.c.value[0].as_string(),
        "array_index": each.c.value[1].as_integer(),
        "number": number,
        "live_number": number,
    }
    for table in (job_ids, jobs):
        columns = [own.get(column.name, column) for column in table.c]
        query = sa.select(*columns).select_from(table.join(each, sa.true()))
        query = query.where(table.c.id == array_id)
        connection.execute(sa.insert(table).from_select([*table.c], query))
    for table in (events, job_secrets):
        pairs = jobs.join(table, table.c.job_id == jobs.c.array_id)
        columns = [jobs.c.id if column.name == "job_id" else column for column in table.c]
        query = sa.select(*columns).select_from(pairs)
        query = query.where(jobs.c.array_id == array_id, jobs.c.id != array_id)
        connection.execute(sa.insert(table).from_select([*table.c], query))


def _table_of(connection: sa.Connection, tasks: Sequence[Task]) -> sa.TableValuedAlias:
    """A table for one statement whose ``value`` has id, index and number of a task.

    One statement for all of them keeps the interpreter free, where one for each would not.
    """
    values = sa.literal([[task.id, task.index, task.number] for task in tasks], sa.JSON())
    sqlite = connection.dialect.name == "sqlite"
    each = sa.func.json_each(values) if sqlite else sa.func.json_array_elements(values)
    return each.table_valued(sa.column("value", sa.JSON()), name="own")


def _slices(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), SLICE):
        yield items[start : start + SLICE]
