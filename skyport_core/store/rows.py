"""From rows to plain data and back."""

from __future__ import annotations

import functools
from types import MappingProxyType
from typing import Any

from sqlalchemy import Row

from ..model import (
    FINAL_STATES,
    Event,
    Failure,
    Job,
    JobSpec,
    JobState,
    PartitionRecord,
    PartitionState,
    Resources,
)
from .tables import clean

FINAL = [state.value for state in FINAL_STATES]
"""States of jobs that have ended, as they are stored."""

Values = dict[str, Any]
"""Column names to what is stored there."""


def job_values(job: Job) -> Values:
    """The changeable columns of a job's row."""
    held, listen, failure = job.reserved, job.listen, job.failure
    return {
        "live_number": job.number if is_live(job) else None,
        "state": job.state.value,
        "target": job.target.value,
        "state_since": job.state_since,
        "site": job.site,
        "node": job.node,
        "flavor": job.flavor,
        "username": job.username,
        "partition": job.partition,
        "reserved_cpus": held.cpus if held else None,
        "reserved_memory": held.memory if held else None,
        "reserved_gpus": held.gpus if held else None,
        "listen_host": listen[0] if listen else None,
        "listen_port": listen[1] if listen else None,
        "forward_ports": dict(job.forward_ports),
        "excluded": {name: clean(reason) for name, reason in job.excluded.items()},
        "attempt": job.attempt,
        "position": job.position,
        "wait_reason": job.wait_reason,
        "deadline": job.deadline,
        "started_at": job.started_at,
        "expires_at": job.expires_at,
        "ended_at": job.ended_at,
        "exit_code": job.exit_code,
        "failure_reason": failure.reason if failure else None,
        "failure_message": failure.message if failure else None,
        "failure_hint": failure.hint if failure else None,
        "failure_log_tail": failure.log_tail if failure else None,
        "cleanup_pending": job.cleanup_pending,
        "held": job.held,
        "requeue": job.requeue,
        "price": job.price,
        "currency": job.currency,
        "share": job.share,
        "walltime_told": job.walltime_told,
        "version": job.version,
    }


def new_job_values(job: Job) -> Values:
    """All columns of a job's row but ``digest``, ``event_seq`` and ``progress``."""
    return job_values(job) | {
        "id": job.id,
        "owner": job.owner,
        "kind": job.spec.kind.value,
        "array_id": job.array_id,
        "array_index": job.array_index,
        "array_limit": job.array_limit,
        "scripted": job.scripted,
        "secret": job.secret,
        "number": job.number,
        "created_at": job.created_at,
        **spec_values(job.spec),
    }


def spec_values(spec: JobSpec) -> Values:
    """The columns that hold what a job asks for."""
    return {
        "spec": spec.model_dump_json(),
        "name": spec.name,
        "depends": bool(spec.dependencies),
    }


def is_live(job: Job) -> bool:
    """Whether the job still holds its number."""
    return not job.state.final or job.cleanup_pending


SHARED_SPEC = 4096
"""Characters of the longest text whose meaning is remembered."""


@functools.lru_cache(maxsize=16384)
def _shared_spec(text: str) -> JobSpec:
    return JobSpec.model_validate_json(text)


def _spec(text: str) -> JobSpec:
    """What a job asks for; it cannot be changed, so that equal texts may share it.

    The queue is read again for each plan, and reading these is most of the work.
    """
    return _shared_spec(text) if len(text) <= SHARED_SPEC else JobSpec.model_validate_json(text)


def job_of(row: Row[Any]) -> Job:
    """The job that a row of ``jobs`` holds."""
    return Job(
        id=row.id,
        owner=row.owner,
        spec=_spec(row.spec),
        number=row.number,
        created_at=row.created_at,
        state_since=row.state_since,
        state=JobState(row.state),
        target=JobState(row.target),
        site=row.site,
        node=row.node,
        flavor=row.flavor,
        username=row.username,
        partition=row.partition,
        reserved=_resources(row),
        listen=(row.listen_host, row.listen_port) if row.listen_host is not None else None,
        forward_ports=MappingProxyType(row.forward_ports),
        excluded=MappingProxyType(row.excluded),
        attempt=row.attempt,
        position=row.position,
        wait_reason=row.wait_reason,
        deadline=row.deadline,
        started_at=row.started_at,
        expires_at=row.expires_at,
        ended_at=row.ended_at,
        exit_code=row.exit_code,
        failure=_failure(row),
        cleanup_pending=row.cleanup_pending,
        held=row.held,
        requeue=row.requeue,
        array_id=row.array_id,
        array_index=row.array_index,
        array_limit=row.array_limit,
        price=row.price,
        currency=row.currency,
        share=row.share,
        walltime_told=row.walltime_told,
        scripted=row.scripted,
        secret=row.secret,
        version=row.version,
    )


def _resources(row: Row[Any]) -> Resources | None:
    if row.reserved_cpus is None:
        return None
    return Resources(row.reserved_cpus, row.reserved_memory, row.reserved_gpus)


def _failure(row: Row[Any]) -> Failure | None:
    if row.failure_reason is None:
        return None
    return Failure(row.failure_reason, row.failure_message, row.failure_hint, row.failure_log_tail)


def event_values(event: Event) -> Values:
    """All columns of an event's row."""
    return vars(event) | {"state": event.state.value}


def event_of(row: Row[Any]) -> Event:
    """The event that a row of ``events`` holds."""
    return Event(
        job_id=row.job_id,
        seq=row.seq,
        time=row.time,
        state=JobState(row.state),
        progress=row.progress,
        message=row.message,
        reason=row.reason,
        hint=row.hint,
    )


def partition_values(record: PartitionRecord) -> Values:
    """All columns of a partition's row."""
    return vars(record) | {"state": record.state.value, "target": record.target.value}


def partition_of(row: Row[Any]) -> PartitionRecord:
    """The record that a row of ``partitions`` holds."""
    return PartitionRecord(
        name=row.name,
        site=row.site,
        job_id=row.job_id,
        owner=row.owner,
        flavor=row.flavor,
        created_at=row.created_at,
        state_since=row.state_since,
        state=PartitionState(row.state),
        target=PartitionState(row.target),
        region=row.region,
        zone=row.zone,
        spot=row.spot,
        price=row.price,
        image=row.image,
        max_price=row.max_price,
        keep=row.keep,
        count=row._mapping["count"],
        deadline=row.deadline,
        reason=row.reason,
        error=row.error,
        version=row.version,
    )
