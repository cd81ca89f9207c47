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
import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from traitlets import Float, Instance, Unicode
from traitlets.config import LoggingConfigurable


class GateError(Exception):
    """Base of all that a gate may raise.

    Parameters
    ----------
    message : str
        What happened, in words a user may see.
    hint : str
        What the user or the admin can do next.

    The technical cause is chained with ``raise … from cause``; it goes to the log only.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Scope:
    """Which offers of a site an error speaks of; None stands for all.

    ``flavors`` are names; ``zone`` is one of ``region``.
    """

    flavors: frozenset[str] | None = None
    region: str | None = None
    zone: str | None = None
    spot: bool | None = None


class Shortage(GateError):
    """What was asked for cannot be had now; another offer should be tried.

    Parameters
    ----------
    scope : Scope, optional
        The offers that cannot be had either; None: only the one that was asked for.
    retry_after : float, optional
        Seconds after which it is worth another try; None: the core's own time.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        scope: Scope | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.scope = scope
        self.retry_after = retry_after


class NoCapacity(Shortage):
    """The site has none of this flavor left now."""


class QuotaExceeded(Shortage):
    """The account's quota does not allow it."""


class Preempted(GateError):
    """The site took the partition back before its end, as it may with spot nodes."""


class Throttled(GateError):
    """The site asks to slow down; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 30.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotAuthorized(GateError):
    """The gate's credential is missing, expired or lacks a right; an admin must act."""


class ConfigurationError(GateError):
    """The gate's own configuration cannot work; an admin must change it."""


class InvalidRequest(GateError):
    """The request can never work as it is; trying again is useless."""


class PartitionNotFound(GateError):
    """There is no such partition at the site (any more)."""


class GateUnavailable(GateError):
    """The site does not answer now; trying again later may work."""


@dataclass(frozen=True)
class Terms:
    """One way to get nodes of a flavor.

    Attributes
    ----------
    region
        Where; "" when the site has no regions.
    zones
        The zones of the region that have it, of which one is named when it is made; empty: none
        is named.
    spot
        Cheaper, but the site may take the node back at short notice.
    price
        Per node and hour, in the flavor's currency; None: not billed, or not known.
    delay
        Seconds that making one takes, as far as known.
    reason
        Why it cannot be had now, such as a quota of zero; "" when it can.
    """

    region: str = ""
    zones: tuple[str, ...] = ()
    spot: bool = False
    price: float | None = None
    delay: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class Flavor:
    """A node type.

    ``cpus`` in cores, ``memory`` in MiB, ``storage`` in GiB, ``price`` in ``currency`` per node
    and hour (None: not billed), ``capacity`` in nodes (None: as many as the site's quota allows).
    ``terms`` are the ways to get it; empty: only one, without region, at ``price``. With terms,
    ``price`` is the lowest that is not spot. Nodes that are ``suspendable`` can sleep
    (:class:`Suspend`).
    """

    name: str
    cpus: float
    memory: int
    gpus: int = 0
    gpu_type: str = ""
    storage: int = 0
    price: float | None = None
    capacity: int | None = None
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    description: str = ""
    currency: str = "USD"
    terms: tuple[Terms, ...] = ()
    suspendable: bool = False


@dataclass(frozen=True)
class Image:
    """What a node boots (``kind`` "cloud") or a job runs in (``kind`` "container")."""

    name: str
    kind: str = "cloud"
    description: str = ""


@dataclass(frozen=True)
class SSHEndpoint:
    """How to reach a node by SSH.

    Attributes
    ----------
    host, port
        Address, as seen from the core or from the jump host.
    username
        Login name; ``{username}`` in it stands for the job's user.
    host_keys
        Public host keys that are accepted, in OpenSSH's one-line form ("ssh-ed25519 AAAA…").
    host_cas
        Public keys of authorities whose host certificates are accepted.
    jump
        The host to go through first, itself an endpoint.
    identity_file
        Private key to log in with; None: short-lived certificates of the core's SSH CA.
    """

    host: str
    port: int = 22
    username: str = "{username}"
    host_keys: tuple[str, ...] = ()
    host_cas: tuple[str, ...] = ()
    jump: SSHEndpoint | None = None
    identity_file: str | None = None


class NodeHealth(str, enum.Enum):
    """Whether jobs can be sent to a node now."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True)
class Node:
    """One machine. ``memory`` in MiB; ``exec_prefix`` is put before every command on it.

    ``shared`` says that several jobs may be packed on it; ``reason`` explains ``health`` DOWN.
    """

    name: str
    endpoint: SSHEndpoint
    flavor: str = ""
    cpus: float = 1
    memory: int = 1024
    gpus: int = 0
    gpu_type: str = ""
    labels: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    exec_prefix: tuple[str, ...] = ()
    health: NodeHealth = NodeHealth.UP
    reason: str = ""


@dataclass(frozen=True)
class PartitionRequest:
    """What to create. ``name`` is unique for ever and decides identity: same name, same partition.

    ``tags`` are written on every resource made; ``user_ca`` is the public key whose SSH user
    certificates the nodes must accept; ``username`` the login that must exist on them. ``region``,
    ``zone`` and ``spot`` are those of the terms chosen; ``max_price`` is the most to pay per node
    and hour (None: whatever it costs); ``suspendable`` asks for nodes whose disks outlive a sleep.
    """

    name: str
    flavor: str
    username: str
    user_ca: str
    count: int = 1
    image: str = ""
    region: str = ""
    zone: str = ""
    spot: bool = False
    max_price: float | None = None
    suspendable: bool = False
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class PartitionStatus(str, enum.Enum):
    """What the site says of a partition.

    CREATING also while it wakes from its sleep. READY: its nodes have their addresses and need no
    more from the site; they may still be booting, and the site may find out later that they failed.
    """

    CREATING = "creating"
    READY = "ready"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    FAILED = "failed"


@dataclass(frozen=True)
class Partition:
    """A partition as the site shows it; ``nodes`` are complete once ``status`` is READY.

    ``error`` says why a FAILED one failed: a Shortage sends its job elsewhere, Preempted too, if
    the job wants that.
    """

    name: str
    status: PartitionStatus
    nodes: tuple[Node, ...] = ()
    error: GateError | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


class GateStore(Protocol):
    """What a gate remembers: texts by key, encrypted at rest, in the core's own database."""

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        ...

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        ...

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        ...


class TransientStore:
    """A :class:`GateStore` that lives as long as its object, for a gate without a core."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        return self._texts.get(key)

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        if value is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = value

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        return {key: text for key, text in self._texts.items() if key.startswith(prefix)}


def _unheard(name: str) -> None:
    """What ``changed`` does when no core listens."""


@dataclass(frozen=True)
class GateContext:
    """What the core tells a gate about itself.

    Attributes
    ----------
    core_id
        Identity of this core, for tags: a gate only ever lists and deletes what carries it.
    home
        A folder of the gate's own (0700) that survives restarts.
    user_ca
        Public key (one OpenSSH line) of the authority that signs the core's SSH logins.
    store
        The gate's memory; it survives restarts, also on another machine.
    changed
        To be called with a partition's name when the gate sees that it stands otherwise than
        before; the core then asks :meth:`Gate.get`. Cheap, and never raises.
    """

    core_id: str
    home: Path
    user_ca: str
    store: GateStore = field(default_factory=TransientStore, compare=False)
    changed: Callable[[str], None] = field(default=_unheard, compare=False)


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


class Suspend(abc.ABC):
    """Power of a gate whose partitions can sleep: disks are kept, nodes are not billed."""

    @abc.abstractmethod
    async def suspend(self, name: str) -> None:
        """Put a partition to sleep; return once accepted. Idempotent.

        :meth:`Gate.get` shows SUSPENDING, then SUSPENDED. Raises PartitionNotFound.
        """
        raise NotImplementedError

    @abc.abstractmethod
    async def resume(self, name: str) -> None:
        """Wake a partition; return once accepted. Idempotent.

        :meth:`Gate.get` shows CREATING, then READY, with new addresses maybe. Raises Shortage
        (then or by ``error`` with status SUSPENDED later) when there is no room now; nothing is
        lost by that. Raises PartitionNotFound.
        """
        raise NotImplementedError


class Spot:
    """Power of a gate that offers spot nodes, which the site may take back.

    The node hears of it first: a program there writes the line ``notice preempt EPOCH`` into the
    FIFOs ``~/.skyport/watch/*`` of the job's login, EPOCH being the second at which the node goes.
    The core then saves the job's results. Later :meth:`Gate.get` shows FAILED with
    :class:`Preempted`.
    """

    spot_notice: float = 30.0
    """Seconds between the notice and the end."""


@dataclass(frozen=True)
class QuotaUse:
    """One limit of the account: ``used`` and ``limit`` in ``unit``; ``region`` "" for all."""

    name: str
    description: str
    region: str
    used: float
    limit: float
    unit: str = "count"


class Quota(abc.ABC):
    """Power of a gate that knows the limits of its account."""

    @abc.abstractmethod
    async def quotas(self) -> list[QuotaUse]:
        """The limits and what is used of them. Answers from a cache; never slow."""
        raise NotImplementedError


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
