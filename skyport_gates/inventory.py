"""The node list of an on-prem site: its schema, with errors that name the node and the field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import asyncssh
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from .gate import Flavor

_UNITS = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:iB|B)?", re.IGNORECASE)


def parse_memory(value: object) -> object:
    """MiB from a number (MiB already) or a text like ``"16G"``, ``"512 MiB"`` or ``"1.5T"``."""
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not an amount of memory; write MiB (16384) or '16G'")
    return int(float(match[1]) * _UNITS[match[2].upper()])


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def public_key(line: str) -> str:
    """A public key in its shortest OpenSSH form, without comment. ValueError if it is none."""
    try:
        text = asyncssh.import_public_key(line).export_public_key().decode()
    except asyncssh.KeyImportError:
        raise ValueError(
            f"{line[:60]!r} is not a public key; write one line such as 'ssh-ed25519 AAAA…'"
        ) from None
    return " ".join(text.split()[:2])


Memory = Annotated[int, BeforeValidator(parse_memory)]
PublicKey = Annotated[str, AfterValidator(public_key)]
Keys = Annotated[tuple[PublicKey, ...], BeforeValidator(_as_tuple)]
HostName = Annotated[
    str, Field(min_length=1, max_length=255, pattern=r"^[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*$")
]


class HostConfig(BaseModel):
    """How to reach one machine by SSH, and by which keys to know it.

    ``host_key`` and ``host_ca`` take one OpenSSH public key line or a list of them;
    ``known_hosts`` is the path of a file to look in besides the gate's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: HostName
    port: int = Field(22, ge=1, le=65535)
    user: str | None = Field(None, min_length=1, max_length=255)
    identity_file: str | None = Field(None, min_length=1)
    known_hosts: str | None = Field(None, min_length=1)
    host_key: Keys = ()
    host_ca: Keys = ()
    jump: HostConfig | None = None

    def first_hop(self) -> HostConfig:
        """The machine that is connected to directly: the outermost jump host, or this one."""
        return self if self.jump is None else self.jump.first_hop()


class NodeConfig(HostConfig):
    """One node. ``memory`` in MiB or a text like "16G"; ``price`` in USD per hour."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")
    cpus: float = Field(gt=0, le=100_000)
    memory: Memory = Field(gt=0, le=2**31)
    gpus: int = Field(0, ge=0, le=10_000)
    gpu_type: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    flavor: str = ""
    price: float | None = Field(None, ge=0)

    @property
    def flavor_name(self) -> str:
        """The flavor given, or one made of the node's size, as "8cpu-16g-1xA100"."""
        if self.flavor:
            return self.flavor
        whole, rest = divmod(self.memory, 1024)
        memory = f"{self.memory}m" if rest else f"{whole}g"
        gpus = f"-{self.gpus}x{self.gpu_type or 'gpu'}" if self.gpus else ""
        return f"{self.cpus:g}cpu-{memory}{gpus}"

    def to_flavor(self) -> Flavor:
        """The flavor that this node alone would make."""
        return Flavor(
            name=self.flavor_name,
            cpus=self.cpus,
            memory=self.memory,
            gpus=self.gpus,
            gpu_type=self.gpu_type,
            price=self.price,
            capacity=1,
            labels=dict(self.labels),
        )


def parse_inventory(entries: Sequence[Mapping[str, Any]]) -> tuple[NodeConfig, ...]:
    """Validate a node list.

    Raises
    ------
    ValueError
        One line for each fault, naming the node and the field.
    """
    nodes = []
    faults = []
    for number, entry in enumerate(entries, start=1):
        title = f"node {entry.get('name', f'number {number}')}"
        try:
            nodes.append(NodeConfig.model_validate(dict(entry)))
        except ValidationError as error:
            faults += [f"{title}: {_words(fault)}" for fault in error.errors()]
    names = Counter(node.name for node in nodes)
    faults += [f"node {name}: this name is used {n} times" for name, n in names.items() if n > 1]
    faults += _flavor_faults(nodes)
    if faults:
        raise ValueError("\n".join(faults))
    return tuple(nodes)


def _words(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    message = str(fault["msg"]).removeprefix("Value error, ")
    given = fault.get("input")
    if fault["type"] == "missing":
        return f"{where}: is missing"
    if fault["type"] == "extra_forbidden":
        return f"{where}: there is no such field"
    shown = "" if isinstance(given, (dict, list)) else f" (got {given!r})"
    return f"{where}: {message}{shown}"


def _flavor_faults(nodes: Sequence[NodeConfig]) -> list[str]:
    """Nodes of one flavor must be alike in size and price."""
    first: dict[str, NodeConfig] = {}
    faults = []
    for node in nodes:
        other = first.setdefault(node.flavor_name, node)
        faults += [
            f"node {node.name}: {field} differs from node {other.name} of the same flavor "
            f"{node.flavor_name!r}; give one of them another flavor"
            for field in ("cpus", "memory", "gpus", "gpu_type", "price")
            if getattr(node, field) != getattr(other, field)
        ]
    return faults


def group_flavors(nodes: Sequence[NodeConfig]) -> list[Flavor]:
    """One flavor for each kind of node: its capacity and the labels that all of them carry."""
    groups: dict[str, list[Flavor]] = {}
    for node in nodes:
        groups.setdefault(node.flavor_name, []).append(node.to_flavor())
    flavors = []
    for name, members in groups.items():
        common = set.intersection(*(set(member.labels.items()) for member in members))
        model = members[0]
        flavors.append(
            Flavor(
                name=name,
                cpus=model.cpus,
                memory=model.memory,
                gpus=model.gpus,
                gpu_type=model.gpu_type,
                price=model.price,
                capacity=len(members),
                labels=dict(sorted(common)),
            )
        )
    return flavors
