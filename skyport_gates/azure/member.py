"""What the gate knows of one partition, and what the core is told of it."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields

from ..gate import GateError, Node, Partition, PartitionStatus, SSHEndpoint
from .looks import MACHINE, Piece, partition_of
from .meanings import Subject
from .names import NODES, machine_names, tag

PREFIX = "partition/"


class Phase(str, enum.Enum):
    """Where a partition is between waking and sleeping."""

    AWAKE = "awake"
    FALLING = "falling"
    ASLEEP = "asleep"
    WAKING = "waking"


@dataclass
class Member:
    """One partition.

    Attributes
    ----------
    name, machines
        The partition's name and those of its machines.
    tags
        As written on everything that belongs to it.
    flavor, region, zone, spot
        As asked for.
    cpus, memory, gpus, gpu_type
        What each machine has.
    username
        The login on the machines; "" when not known.
    suspendable, hibernates
        Whether its disks outlive a sleep, and its memory too.
    phase
        Awake or asleep, as the core wants it; what Azure does otherwise is not of its doing.
    accepted
        The machines that Azure has accepted.
    made
        The machines whose creation has come to a good end.
    addresses
        Of the machines, as the core reaches them.
    error
        What went wrong. While it is awake, that is the end of it.
    leaving
        Its removal was asked for.
    moved
        When what it stands for was last changed from here, on the event loop's clock; older looks
        tell nothing.
    asking
        How many requests to Azure are on their way that will move it.
    """

    name: str
    machines: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    flavor: str = ""
    region: str = ""
    zone: str = ""
    spot: bool = False
    cpus: float = 1
    memory: int = 1024
    gpus: int = 0
    gpu_type: str = ""
    username: str = ""
    suspendable: bool = False
    hibernates: bool = False
    phase: Phase = Phase.AWAKE
    accepted: set[str] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    addresses: dict[str, str] = field(default_factory=dict)
    error: GateError | None = None
    leaving: bool = False
    moved: float = 0.0
    asking: int = 0

    @property
    def subject(self) -> Subject:
        """The machine, for the words of an error."""
        return Subject(self.flavor, self.region, self.zone, self.spot)

    @property
    def failed(self) -> bool:
        """Whether it is of no use any more."""
        return self.error is not None and self.phase is Phase.AWAKE

    @property
    def watched(self) -> bool:
        """Whether something may happen to it without the gate's doing."""
        settled = self.phase is Phase.ASLEEP or self.failed or self.leaving
        return bool(self.accepted) and not settled

    @property
    def lacks_address(self) -> bool:
        """Whether an address has to be looked for."""
        awake = self.phase is Phase.AWAKE and not (self.failed or self.leaving)
        return awake and any(machine not in self.addresses for machine in self.accepted)

    @property
    def status(self) -> PartitionStatus:
        """What the core is told."""
        if self.leaving:
            return PartitionStatus.DELETING
        if self.failed:
            return PartitionStatus.FAILED
        if self.phase is Phase.AWAKE and all(name in self.addresses for name in self.machines):
            return PartitionStatus.READY
        return {
            Phase.FALLING: PartitionStatus.SUSPENDING,
            Phase.ASLEEP: PartitionStatus.SUSPENDED,
        }.get(self.phase, PartitionStatus.CREATING)

    def partition(self, host_key: Callable[[str], str], port: int) -> Partition:
        """What the core is told; ``host_key`` gives a machine's public key."""
        nodes = tuple(
            Node(
                name=machine,
                endpoint=SSHEndpoint(
                    host=self.addresses[machine],
                    port=port,
                    username=self.username or "{username}",
                    host_keys=(host_key(machine),),
                ),
                flavor=self.flavor,
                cpus=self.cpus,
                memory=self.memory,
                gpus=self.gpus,
                gpu_type=self.gpu_type,
            )
            for machine in self.machines
            if machine in self.addresses
        )
        return Partition(self.name, self.status, nodes, self.error, dict(self.tags))

    def to_text(self) -> str:
        """For the gate's memory; without ``error``, which a look will find again."""
        kept = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in ("error", "leaving", "moved", "asking"):
            del kept[name]
        for name in ("accepted", "made"):
            kept[name] = sorted(kept[name])
        return json.dumps({**kept, "phase": self.phase.value, "tags": dict(self.tags)})

    @classmethod
    def from_text(cls, text: str) -> Member:
        """Back from the gate's memory. ValueError if it cannot be read."""
        try:
            kept = json.loads(text)
            known = {each.name for each in fields(cls)}
            given = {name: value for name, value in kept.items() if name in known}
            given["machines"] = tuple(given["machines"])
            given["accepted"] = set(given.get("accepted", ()))
            given["made"] = set(given.get("made", ()))
            given["phase"] = Phase(given.get("phase", Phase.AWAKE))
            return cls(**given)
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a partition: {error}") from error

    @classmethod
    def from_piece(cls, piece: Piece) -> Member:
        """Of a partition that is only known by what it has at Azure."""
        name = partition_of(piece)
        count = tag(piece.tags, NODES)
        machines = machine_names(name, max(1, int(count)) if count.isdigit() else 1)
        member = cls(name, machines, dict(piece.tags))
        if piece.kind == MACHINE:
            member.describe(piece)
        return member

    def describe(self, machine: Piece) -> None:
        """Take over what a machine's own body tells."""
        properties = machine.body.get("properties") or {}
        disk = (properties.get("storageProfile") or {}).get("osDisk") or {}
        self.flavor = str((properties.get("hardwareProfile") or {}).get("vmSize") or self.flavor)
        self.region = str(machine.body.get("location") or self.region)
        self.zone = next(iter(machine.body.get("zones") or []), self.zone)
        self.spot = str(properties.get("priority") or "").lower() == "spot"
        able = properties.get("additionalCapabilities") or {}
        self.hibernates = bool(able.get("hibernationEnabled"))
        lasting = not disk.get("diffDiskSettings")
        evicted = str(properties.get("evictionPolicy") or "").lower() == "delete"
        self.suspendable = lasting and not evicted
