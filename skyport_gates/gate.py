"""The Gate contract: what a site's plugin must do, its value types and its errors.

A gate is found by the entry-point group ``skyport.gates`` and configured by traits. There are two
sorts. A gate over *elastic* offers (a cloud, a batch system) makes partitions on demand and
implements :class:`Gate`. A gate over *fixed* nodes (on-prem, this machine) implements
:class:`StaticGate`: its nodes are always there, and the core's scheduler packs jobs on them.

Interface law for every method: it is a coroutine that never blocks the event loop; it may be
cancelled at any await and called again; it raises only :class:`GateError` for what went wrong at
the site; it has a deadline of its own below ``Gate.call_timeout`` (the core enforces that one).
"""

from __future__ import annotations

import abc

from traitlets import Float, Instance, Unicode
from traitlets.config import LoggingConfigurable

from .context import (
    GateContext,
    GateStore,
    TransientStore,
)
from .errors import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    Preempted,
    QuotaExceeded,
    Scope,
    Shortage,
    Throttled,
)
from .powers import (
    Quota,
    QuotaUse,
    Spot,
    Suspend,
)
from .values import (
    Flavor,
    Image,
    Node,
    NodeHealth,
    Partition,
    PartitionRequest,
    PartitionStatus,
    SSHEndpoint,
    Terms,
)

__all__ = [
    "ConfigurationError",
    "Flavor",
    "Gate",
    "GateContext",
    "GateError",
    "GateStore",
    "GateUnavailable",
    "Image",
    "InvalidRequest",
    "NoCapacity",
    "Node",
    "NodeHealth",
    "NotAuthorized",
    "Partition",
    "PartitionNotFound",
    "PartitionRequest",
    "PartitionStatus",
    "Preempted",
    "Quota",
    "QuotaExceeded",
    "QuotaUse",
    "SSHEndpoint",
    "Scope",
    "Shortage",
    "Spot",
    "StaticGate",
    "Suspend",
    "Terms",
    "Throttled",
    "TransientStore",
]


class Gate(LoggingConfigurable):
    """A plugin in charge of all talk with one remote site.

    A subclass implements :meth:`flavors`, :meth:`create`, :meth:`get`, :meth:`list` and
    :meth:`delete`; the rest has usable defaults. Optional powers are mixins.
    """

    name = Unicode(help="Name of the site, as users and the log see it.")

    context = Instance(GateContext, help="Set by the core before start().")

    call_timeout = Float(
        60.0,
        min=0.1,
        help="""
        Seconds that any call to this gate may take before the core gives it up.
        """,
    ).tag(config=True)

    async def start(self) -> None:
        """Prepare: open clients, start helpers. Idempotent. Called before any other method."""

    async def close(self, *, idle: bool) -> None:
        """Release what :meth:`start` took. ``idle``: no job of this site is left."""

    @abc.abstractmethod
    async def flavors(self) -> list[Flavor]:
        """The node types on offer. Answers from a cache; never slow."""
        raise NotImplementedError

    async def images(self) -> list[Image]:
        """The images on offer; none by default."""
        return []

    @abc.abstractmethod
    async def create(self, request: PartitionRequest) -> None:
        """Ask for a partition; return once the site accepted it, not when it is ready.

        Idempotent by ``request.name``: a second call with the same name makes nothing new.
        Raises NoCapacity, QuotaExceeded, Throttled, NotAuthorized, InvalidRequest or
        GateUnavailable; whatever was half made is then removed or found by :meth:`list`.
        """
        raise NotImplementedError

    @abc.abstractmethod
    async def get(self, name: str) -> Partition:
        """How a partition stands. Raises PartitionNotFound when nothing of it is left.

        Cheap: asked every few seconds for each partition, so it answers from what the gate knows
        of its whole fleet. PartitionNotFound only after a look at the site itself that began after
        the removal was asked for.
        """
        raise NotImplementedError

    @abc.abstractmethod
    async def list(self) -> list[Partition]:
        """All partitions that carry this core's tag, half-made and failed ones too; one call."""
        raise NotImplementedError

    @abc.abstractmethod
    async def delete(self, name: str) -> None:
        """Ask for removal of all that belongs to the partition; return once accepted.

        Idempotent, and no error if it does not exist. It is gone when :meth:`get` says so.
        """
        raise NotImplementedError

    async def diagnose(self, name: str) -> str:
        """What the partition's nodes printed while they booted; "" when that is not known.

        For a partition that nobody can log in to; may take some seconds.
        """
        return ""


class StaticGate(Gate):
    """A gate over nodes that are always there: it offers them and makes nothing."""

    @abc.abstractmethod
    async def nodes(self) -> list[Node]:
        """The nodes with their present health. Answers from a cache; never slow."""
        raise NotImplementedError

    async def create(self, request: PartitionRequest) -> None:
        """Always InvalidRequest: the nodes of this site are fixed."""
        raise InvalidRequest(f"Site {self.name!r} has fixed nodes; nothing can be created there.")

    async def get(self, name: str) -> Partition:
        """Always PartitionNotFound."""
        raise PartitionNotFound(f"Site {self.name!r} has no partition {name!r}.")

    async def list(self) -> list[Partition]:
        """Always empty."""
        return []

    async def delete(self, name: str) -> None:
        """Nothing to do."""
