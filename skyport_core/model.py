"""Jobs, events and their states: plain data without I/O."""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

NUMBER_BITS = 21
"""Width of a job's number: it selects the job's address inside a /11 of 127.0.0.0/8."""

NODE_NETWORK = 0x7F400000  # 127.64.0.0/11, where a job listens on its node
CORE_NETWORK = 0x7F600000  # 127.96.0.0/11, where the core listens for the job


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


@dataclass(frozen=True)
class Resources:
    """What a job needs or a node has: ``cpus`` (cores), ``memory`` (MiB), ``gpus`` (devices)."""

    cpus: float = 0.0
    memory: int = 0
    gpus: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            round(self.cpus + other.cpus, 3), self.memory + other.memory, self.gpus + other.gpus
        )

    def __sub__(self, other: Resources) -> Resources:
        return Resources(
            round(self.cpus - other.cpus, 3), self.memory - other.memory, self.gpus - other.gpus
        )

    def fits_in(self, free: Resources) -> bool:
        """Whether ``free`` covers this need in every dimension."""
        return self.cpus <= free.cpus and self.memory <= free.memory and self.gpus <= free.gpus

    def __str__(self) -> str:
        text = f"{self.cpus:g} cpus, {self.memory} MiB"
        return f"{text}, {self.gpus} gpus" if self.gpus else text


Name = Annotated[
    str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")
]
Text = Annotated[str, StringConstraints(max_length=131072, pattern=r"^[^\x00]*$")]
EnvName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=255)]
Label = Annotated[str, StringConstraints(max_length=255, pattern=r"^[^\x00-\x1f\x7f]*$")]
Slug = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
HostPort = Annotated[
    str, StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):\d{1,5}$")
]


class Probe(BaseModel):
    """How the core finds out that a server answers: any HTTP status below 500 at ``path``.

    With ``https`` a finished TLS handshake is the answer, since a server with mutual TLS talks
    HTTP to the hub only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scheme: Literal["http", "https"] = "http"
    path: Annotated[str, StringConstraints(pattern=r"^/[^\s\x00-\x1f\x7f]*$")] = "/"


class JobSpec(BaseModel):
    """What a job asks for, without its secrets. The request's body minus environment and files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: JobKind = JobKind.SERVER
    name: Label = Field("", description="A name for people; need not be unique.")
    command: tuple[Text, ...] = Field(
        min_length=1, description="Program and arguments; never passed through a shell."
    )
    site: Slug | None = Field(None, description="Run at this site only; null: any site.")
    flavor: Name | None = Field(None, description="Run on this flavor only; null: any flavor.")
    region: Name | None = Field(None, description="Run in this region only; null: any region.")
    zone: Name | None = Field(None, description="Run in this zone only; null: any zone.")
    spot: bool | None = Field(
        False,
        description=(
            "true: only on spot nodes, which their site may take back; false: never on these; "
            "null: whichever is cheaper."
        ),
    )
    max_price: float | None = Field(
        None, gt=0, le=1e6, description="The most that a node may cost per hour; null: no limit."
    )
    image: Name | None = Field(
        None, description="Image that a node made for this job boots; null: its site's default."
    )
    on_eviction: Eviction = Field(
        Eviction.REQUEUE,
        description=(
            "What happens when a site takes a spot node back: fail; requeue, to start over on "
            "another node; move, to start over there with the outputs saved from this one."
        ),
    )
    keep: Slug | None = Field(
        None,
        description=(
            "Name of a machine to keep: instead of being deleted, the node made for this job "
            "sleeps after it, and the owner's next job that names it gets it back, files and all."
        ),
    )
    labels: dict[Name, Label] = Field(
        default_factory=dict, description="Labels that the node must carry."
    )
    cpus: float | None = Field(
        None, gt=0, le=100_000, description="Cores; null: the core's default."
    )
    memory: int | None = Field(None, gt=0, le=2**31, description="MiB; null: the core's default.")
    gpus: int = Field(0, ge=0, le=10_000, description="GPU devices; 0 means none.")
    walltime: int | None = Field(
        None, gt=0, le=366 * 86400, description="Seconds the job may run; null: no limit."
    )
    start_timeout: int = Field(
        120, gt=0, le=86400, description="Seconds a started server has to answer on its port."
    )
    username: Name | None = Field(
        None, description="Login on the node where its site says {username}; null: the owner."
    )
    workdir: Text = Field("", description="Working directory; relative to the login's home.")
    port: int | None = Field(
        None, ge=1, le=65535, description="TCP port the job serves on its own address of the node."
    )
    probe: Probe | None = Field(
        None, description="How to see that the server answers; null: by TCP."
    )
    forwards: dict[Slug, HostPort] = Field(
        default_factory=dict,
        description="Services near the core that the job reaches on its node: name to host:port.",
    )
    outputs: tuple[Text, ...] = Field(
        default=(), description="Files below the working directory to bring home at the end."
    )


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
    site, node, username
        Placement: site name, node name there, and the login used on the node.
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


@dataclass(frozen=True)
class PartitionRecord:
    """The core's own record of a partition, written before the gate is asked for anything.

    Attributes
    ----------
    job_id
        The job that has it now, or had it last.
    flavor, region, zone, spot, price
        The offer it was made from; ``price`` per node and hour, None: not known.
    image, max_price
        As the job asked.
    keep
        Under which name its owner keeps it between jobs; "": it goes with its job.
    state, target
        Where it is and where it should get to: READY, SUSPENDED or DELETED.
    deadline
        When the present state is given up; of a sleeping one: when it is deleted.
    reason, error
        Why it failed or is leaving: a word for programs (``preempted``, ``no_capacity``,
        ``quota``, ``boot``, ``lost`` …) and a sentence for people. One that is or gets ready after
        a sleep is ``woken``.
    """

    name: str
    site: str
    job_id: str
    owner: str
    flavor: str
    created_at: dt.datetime
    state_since: dt.datetime
    state: PartitionState = PartitionState.REQUESTED
    target: PartitionState = PartitionState.READY
    region: str = ""
    zone: str = ""
    spot: bool = False
    price: float | None = None
    image: str = ""
    max_price: float | None = None
    keep: str = ""
    deadline: dt.datetime | None = None
    reason: str = ""
    error: str = ""
    version: int = 0


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


def preferred_number(job_id: str) -> int:
    """The number that a job takes when it is free: the low 21 bits of a hash of its id, never 0."""
    digest = hashlib.sha256(job_id.encode()).digest()
    return int.from_bytes(digest[:4], "big") % ((1 << NUMBER_BITS) - 1) + 1


def next_number(number: int) -> int:
    """The number to try when ``number`` is taken."""
    return number % ((1 << NUMBER_BITS) - 1) + 1


def node_address(number: int) -> str:
    """Loopback address on the node: 127.64.0.0/11 plus the number."""
    return _dotted(NODE_NETWORK + number)


def core_address(number: int) -> str:
    """Loopback address at the core: 127.96.0.0/11 plus the number."""
    return _dotted(CORE_NETWORK + number)


def _dotted(value: int) -> str:
    return ".".join(str(value >> shift & 0xFF) for shift in (24, 16, 8, 0))
