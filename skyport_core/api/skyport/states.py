"""A job's state in the original's letters, and its details in words that its clients look for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from ...model import Job, JobState, PartitionState
from .records import Letter

LETTERS: Mapping[JobState, Letter] = MappingProxyType(
    {
        JobState.QUEUED: "Q",
        JobState.ALLOCATING: "W",
        JobState.STAGING: "T",
        JobState.STARTING: "W",
        JobState.RUNNING: "R",
        JobState.COLLECTING: "T",
        JobState.FINISHED: "F",
        JobState.FAILED: "E",
        JobState.CANCELLED: "C",
    }
)

_MAKING = MappingProxyType(
    {
        PartitionState.REQUESTED: "Initiate a new partition",
        PartitionState.CREATING: "Partition spawned",
        PartitionState.READY: "Waiting for SSH provisioning port",
    }
)
"""While its node is being made; SwmSpawner shows 10, 15 and 20 percent for these."""


def letter(job: Job) -> Letter:
    """The state. A job whose program ran and ended by itself is F, whatever its exit status.

    E is for what went wrong around it: only so does SwmSpawner see that a server has ended.
    """
    if job.state is JobState.FAILED and job.exit_code is not None:
        return "F"
    return LETTERS[job.state]


def details(job: Job, partition: PartitionState | None) -> str:
    """What is going on, in words; ``partition`` is the state of the one made for the job."""
    if job.state is JobState.QUEUED:
        return _queued(job)
    if job.state is JobState.ALLOCATING:
        if job.partition is None:
            return "Start secured tunnel"
        return _MAKING.get(partition or PartitionState.REQUESTED, "Partition spawned")
    if job.state is JobState.STAGING:
        return "Uploading data"
    if job.state is JobState.STARTING:
        return "Data uploaded"
    if job.state is JobState.RUNNING:
        return "Job is running"
    if job.state is JobState.COLLECTING:
        return "Downloading data"
    if job.state is JobState.CANCELLED:
        return "Job canceled"
    return _ended(job)


def _queued(job: Job) -> str:
    if job.held:
        return "Held in the queue"
    reason = job.wait_reason or "Waiting in the queue"
    return reason if job.position is None else f"{reason} (position {job.position})"


def _ended(job: Job) -> str:
    if job.failure is None:
        return f"Job finished (exit code {job.exit_code})"
    return " ".join(f"{text}." for text in (job.failure.message, job.failure.hint) if text)


def exit_of(job: Job) -> tuple[int, int]:
    """Exit code and signal; -1 for each that is not known."""
    if job.exit_code is None:
        return -1, -1
    signal = job.exit_code - 128 if 128 < job.exit_code <= 192 else 0
    return job.exit_code, signal
