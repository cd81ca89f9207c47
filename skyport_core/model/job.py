"""A job, its events, and why it failed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .addresses import core_address, node_address
from .resources import Resources
from .spec import JobSpec
from .states import JobState


@dataclass(frozen=True)
class Failure:
    """Why a job failed: ``reason`` for programs, ``message`` and ``hint`` for people."""

    reason: str
    message: str
    hint: str = ""
    log_tail: str = ""


@dataclass(frozen=True)
class Job:
    """One row of the queue.

    Attributes
    ----------
    id
        UUID in its canonical text form, chosen by the terminal.
    state, target
        Where the job is and where it should get to. ``target`` is RUNNING until its end is
        decided, then one of the final states.
    number
        21-bit number, unique among the jobs that have not ended; selects the job's addresses.
    site, node, flavor, username
        Placement: site name, node name there, its flavor, and the login used on the node.
    partition
        Name of the partition made for the job, or None on a site with fixed nodes.
    reserved
        Resources held on the node for this job.
    listen
        ``(host, port)`` at the core that leads to the job's port, or None.
    forward_ports
        For each forward, the port that sshd allocated on the node's 127.0.0.1.
    excluded
        ``site/node`` names that failed this job, each with the reason.
    attempt
        How often the job was placed, from 0.
    deadline
        When the present state is given up.
    expires_at
        When the walltime ends.
    cleanup_pending
        The job is final, but its node could not be reached to remove what it left there.
    held
        Waits in the queue until it is released.
    requeue
        Leaves its place to start over in the queue, without keeping results.
    array_id, array_index, array_limit
        Of one job of an array: the id of the array (its first job's), its index, and how many
        jobs of the array may have a place at a time (None: all).
    price, currency
        What its place costs per node and hour; None: nothing, or not known.
    share
        Part of its node that the job holds, 0 to 1, for accounting; 1 where the node is its own.
    walltime_told
        The walltime that its node enforces now, in seconds; 0: none, None: not told yet.
    scripted, secret
        Whether there is a script, and whether there were secrets (they are dropped at its end).
    version
        Grows by one with each stored change.
    """

    id: str
    owner: str
    spec: JobSpec
    number: int
    created_at: dt.datetime
    state_since: dt.datetime
    state: JobState = JobState.QUEUED
    target: JobState = JobState.RUNNING
    site: str | None = None
    node: str | None = None
    flavor: str | None = None
    username: str | None = None
    partition: str | None = None
    reserved: Resources | None = None
    listen: tuple[str, int] | None = None
    forward_ports: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    excluded: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    attempt: int = 0
    position: int | None = None
    wait_reason: str = ""
    deadline: dt.datetime | None = None
    started_at: dt.datetime | None = None
    expires_at: dt.datetime | None = None
    ended_at: dt.datetime | None = None
    exit_code: int | None = None
    failure: Failure | None = None
    cleanup_pending: bool = False
    held: bool = False
    requeue: bool = False
    array_id: str | None = None
    array_index: int | None = None
    array_limit: int | None = None
    price: float | None = None
    currency: str = ""
    share: float | None = None
    walltime_told: int | None = None
    scripted: bool = False
    secret: bool = False
    version: int = 0

    @property
    def node_address(self) -> str:
        """The job's own loopback address on its node."""
        return node_address(self.number)

    @property
    def core_address(self) -> str:
        """The job's own loopback address at the core."""
        return core_address(self.number)


@dataclass(frozen=True)
class Event:
    """One change of a job, for people to read.

    ``seq`` counts from 1 within the job; ``progress`` is 0 to 100 and never falls within one
    attempt; ``reason`` is a word for programs (``queued``, ``placed``, ``exit`` …).
    """

    job_id: str
    seq: int
    time: dt.datetime
    state: JobState
    progress: int
    message: str
    reason: str = ""
    hint: str = ""


@dataclass(frozen=True)
class EventDraft:
    """An event before the store gave it its number, time and state."""

    message: str
    reason: str = ""
    hint: str = ""
    progress: int | None = None
    """None: as in the event before, or the usual value of the new state."""
