"""What a plan is made of: plain data, no I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..model import Resources


def _nothing() -> Mapping[str, str]:
    return MappingProxyType({})


@dataclass(frozen=True)
class NodeState:
    """A node that exists, and what is free on it now.

    Attributes
    ----------
    total, free
        What the node has, and what no job has reserved.
    available
        False while no job may start on it; ``reason`` then says why, in a sentence that names it
        ("node3 is drained: disk swap").
    suspect
        Something went wrong on it lately: used only when no other node fits.
    price
        USD per hour; None: not billed.
    storage
        GiB of disk; 0: not known.
    """

    site: str
    name: str
    flavor: str
    total: Resources
    free: Resources
    gpu_type: str = ""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    available: bool = True
    reason: str = ""
    suspect: bool = False
    price: float | None = None
    storage: int = 0

    @property
    def key(self) -> str:
        """Its name in a job's ``excluded``."""
        return f"{self.site}/{self.name}"


@dataclass(frozen=True, slots=True)
class Offer:
    """A node that a site would make on demand, as many as are asked for.

    Attributes
    ----------
    total
        What one such node has.
    price
        Per hour; None: not billed.
    available
        False while the site cannot make it; ``reason`` then says why ("no capacity left").
    region, zone
        Where it would be; "" when the site does not ask.
    spot
        Whether the site may take it back.
    suspendable
        Whether it can sleep, so that its owner may keep it.
    storage
        GiB of disk; 0: not known.
    delay
        Seconds that making it takes, as its site says; None: it does not.
    """

    site: str
    flavor: str
    total: Resources
    price: float | None = None
    available: bool = True
    reason: str = ""
    labels: Mapping[str, str] = field(default_factory=_nothing)
    gpu_type: str = ""
    region: str = ""
    zone: str = ""
    spot: bool = False
    suspendable: bool = False
    storage: int = 0
    delay: float | None = None

    @property
    def key(self) -> str:
        """Its name in a job's ``excluded``."""
        return offer_key(self.site, self.flavor, self.region, self.zone, self.spot)


def offer_key(site: str, flavor: str, region: str = "", zone: str = "", spot: bool = False) -> str:
    """The name of an offer: ``azure/Standard_D4s_v5@westeurope-1+spot``."""
    where = f"@{region}" if region else ""
    return f"{site}/{flavor}{where}{f'-{zone}' if zone else ''}{'+spot' if spot else ''}"


@dataclass(frozen=True)
class PendingJob:
    """A queued job.

    Attributes
    ----------
    need
        What it reserves on its node.
    site, flavor
        Only there; None: anywhere.
    region, zone
        Only offers there; None: any.
    spot
        Only spot offers (True), never these (False), or either (None).
    max_price
        No offer that costs more per hour.
    sites
        Only at one of these, since they have what else the job asks for; None: anywhere.
    keep
        Only on a node that can sleep.
    storage
        GiB of disk that its node must have; None: any.
    index
        Its place among those that were submitted at the same moment.
    nodes
        How many such nodes; more than one are made together, on demand.
    relocatable
        Whether nodes may be made for it.
    labels
        All of these its node must carry.
    excluded
        ``site/node`` (or the ``key`` of an offer) not to be used, each with the reason.
    """

    id: str
    owner: str
    submitted: dt.datetime
    need: Resources
    site: str | None = None
    flavor: str | None = None
    region: str | None = None
    zone: str | None = None
    spot: bool | None = False
    max_price: float | None = None
    sites: frozenset[str] | None = None
    keep: bool = False
    storage: int | None = None
    index: int = 0
    nodes: int = 1
    relocatable: bool = True
    labels: Mapping[str, str] = field(default_factory=_nothing)
    excluded: Mapping[str, str] = field(default_factory=_nothing)


@dataclass(frozen=True)
class Placement:
    """Start the job now: on ``node`` if it is given, else on a new node as ``offer`` says."""

    job_id: str
    site: str
    node: str | None = None
    offer: Offer | None = None


@dataclass(frozen=True)
class Waiting:
    """The job stays queued; ``position`` counts from 1; ``reason`` is for people."""

    job_id: str
    position: int
    reason: str


@dataclass(frozen=True)
class Impossible:
    """The job can never run as it is; ``reason`` and ``hint`` are for people."""

    job_id: str
    reason: str
    hint: str


@dataclass(frozen=True)
class Timetable:
    """The plan: each queued job is in exactly one of the three, each in order of the queue."""

    placements: tuple[Placement, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    impossible: tuple[Impossible, ...] = ()
