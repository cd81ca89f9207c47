"""Where a job or a partition is, and what that means."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType


class JobState(str, enum.Enum):
    """Where a job is; the order of the members is the order of a job's life."""

    QUEUED = "QUEUED"
    ALLOCATING = "ALLOCATING"
    STAGING = "STAGING"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    COLLECTING = "COLLECTING"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @property
    def final(self) -> bool:
        """True once nothing more will happen to the job."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({JobState.FINISHED, JobState.FAILED, JobState.CANCELLED})
ACTIVE_STATES = tuple(state for state in JobState if state not in FINAL_STATES)


class JobKind(str, enum.Enum):
    """``server`` jobs serve a port and run until stopped; ``batch`` jobs end by themselves."""

    SERVER = "server"
    BATCH = "batch"


class Eviction(str, enum.Enum):
    """What becomes of a job whose spot node is taken back."""

    FAIL = "fail"
    REQUEUE = "requeue"
    MOVE = "move"


class PartitionState(str, enum.Enum):
    """Where the resources made for a job are; DELETED only once a look showed them gone."""

    REQUESTED = "REQUESTED"
    CREATING = "CREATING"
    READY = "READY"
    SUSPENDING = "SUSPENDING"
    SUSPENDED = "SUSPENDED"
    DELETING = "DELETING"
    DELETED = "DELETED"
    FAILED = "FAILED"

    @property
    def final(self) -> bool:
        """True once nothing of the partition is left at its site."""
        return self in (PartitionState.DELETED, PartitionState.FAILED)


PROGRESS: Mapping[JobState, int] = MappingProxyType(
    {
        JobState.QUEUED: 5,
        JobState.ALLOCATING: 15,
        JobState.STAGING: 35,
        JobState.STARTING: 55,
        JobState.RUNNING: 95,
        JobState.COLLECTING: 97,
        JobState.FINISHED: 100,
        JobState.FAILED: 100,
        JobState.CANCELLED: 100,
    }
)
"""Progress (percent) that entering a state means."""
