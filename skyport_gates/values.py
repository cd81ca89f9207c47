"""What gates and core tell each other: plain data."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from .errors import GateError


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
