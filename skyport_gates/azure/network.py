"""The network that setup makes in each region: names, bodies and what they have to contain."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SUBNET = "nodes"
CORE_RULE = "ssh-from-core"
DENY_RULE = "deny-other-inbound"

ADDRESS_SPACE = "10.64.0.0/10"
NETWORK_PREFIX = 16
SUBNET_PREFIX = 18
RESERVED = 5
"""Addresses of every subnet that Azure keeps for itself."""

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Body = Mapping[str, Any]


class NoRoom(ValueError):
    """No free block of addresses is left."""


@dataclass(frozen=True)
class Rule:
    """A rule of a network security group; texts as Azure has them ("Inbound", "Allow", "Tcp").

    ``sources`` and ``destinations`` are prefixes or service tags, ``ports`` numbers or ranges of
    the destination; "*" is any.
    """

    name: str
    priority: int
    access: str
    sources: frozenset[str]
    ports: frozenset[str] = frozenset({"*"})
    protocol: str = "*"
    direction: str = "Inbound"
    destinations: frozenset[str] = frozenset({"*"})

    @classmethod
    def read(cls, body: Body) -> Rule:
        """The rule of a body."""
        properties = body.get("properties", {})
        return cls(
            name=str(body.get("name", "")),
            priority=int(properties.get("priority", 0)),
            access=str(properties.get("access", "")),
            sources=_either(properties, "sourceAddressPrefix", "sourceAddressPrefixes"),
            ports=_either(properties, "destinationPortRange", "destinationPortRanges"),
            protocol=str(properties.get("protocol", "*")),
            direction=str(properties.get("direction", "")),
            destinations=_either(
                properties, "destinationAddressPrefix", "destinationAddressPrefixes"
            ),
        )

    def body(self) -> dict[str, Any]:
        """The rule as the Resource Manager takes it."""
        sources = sorted(self.sources)
        source = (
            {"sourceAddressPrefix": sources[0]}
            if len(sources) == 1
            else {"sourceAddressPrefixes": sources}
        )
        return {
            "name": self.name,
            "properties": {
                "priority": self.priority,
                "direction": self.direction,
                "access": self.access,
                "protocol": self.protocol,
                **source,
                "sourcePortRange": "*",
                "destinationAddressPrefix": "*",
                "destinationPortRange": ",".join(sorted(self.ports)),
            },
        }

    def covers_port(self, port: int) -> bool:
        """Whether it speaks of TCP connections to a port."""
        if self.protocol.lower() not in ("*", "tcp"):
            return False
        return any(_in_range(port, text) for text in self.ports)

    def __str__(self) -> str:
        ports = ", ".join(sorted(self.ports))
        sources = ", ".join(sorted(self.sources))
        return (
            f"{self.access} {self.direction} {self.protocol} port {ports} from {sources},"
            f" priority {self.priority}"
        )


def wanted_rules(core: Sequence[str], port: int = 22) -> list[Rule]:
    """The rules of the subnet: SSH from the core, nothing else from outside or from each other.

    Parameters
    ----------
    core
        Prefixes of the core's addresses, or of the network itself where nothing may come in from
        outside it; empty: whatever is in the network or joined to it.
    port
        Of the machines' SSH servers.
    """
    sources = frozenset(core) or frozenset({"VirtualNetwork"})
    return [
        Rule(CORE_RULE, 100, "Allow", sources, frozenset({str(port)}), "Tcp"),
        Rule(DENY_RULE, 4096, "Deny", frozenset({"*"})),
    ]


def security_group(region: str, rules: Iterable[Rule], tags: Mapping[str, str]) -> dict[str, Any]:
    """Body of the network security group."""
    return {
        "location": region,
        "tags": dict(tags),
        "properties": {"securityRules": [rule.body() for rule in rules]},
    }


def rule_differences(existing: Body, wanted: Iterable[Rule], *, any_core: bool) -> list[str]:
    """In what a security group is not as wanted; rules of other names are the admin's own.

    ``any_core``: whatever address the core's rule names is fine.
    """
    rules = {rule.name: rule for rule in map(Rule.read, _list(existing, "securityRules"))}
    found = []
    for rule in wanted:
        there = rules.get(rule.name)
        if there is None:
            found.append(f"it has no rule {rule.name} ({rule})")
        elif any_core and rule.name == CORE_RULE and there.ports == rule.ports:
            continue
        elif there != rule:
            found.append(f"rule {rule.name} is: {there}; wanted: {rule}")
    return found


def with_rules(existing: Body, wanted: Iterable[Rule]) -> dict[str, Any]:
    """The security group's body with our rules as wanted, and all others as they are."""
    ours = {rule.name: rule.body() for rule in wanted}
    others = [dict(one) for one in _list(existing, "securityRules") if one.get("name") not in ours]
    properties = {**existing.get("properties", {}), "securityRules": [*ours.values(), *others]}
    return {**_plain(existing), "properties": properties}


def virtual_network(
    region: str, block: IPNetwork, group: str, nat: str | None, tags: Mapping[str, str]
) -> dict[str, Any]:
    """Body of a virtual network with the subnet for the machines.

    ``group`` and ``nat`` are the ids of its security group and NAT gateway.
    """
    nodes = free_block([str(block)], (), SUBNET_PREFIX)
    return {
        "location": region,
        "tags": dict(tags),
        "properties": {
            "addressSpace": {"addressPrefixes": [str(block)]},
            "subnets": [_subnet(nodes, group, nat)],
        },
    }


def network_differences(existing: Body, group: str, nat: str | None) -> list[str]:
    """In what a virtual network is not as wanted."""
    subnet = find_subnet(existing)
    if subnet is None:
        return [f"it has no subnet {SUBNET!r}"]
    found = []
    for word, key, wanted in (
        ("security group", "networkSecurityGroup", group),
        ("NAT gateway", "natGateway", nat),
    ):
        there = str((subnet.get("properties", {}).get(key) or {}).get("id", ""))
        if wanted and there.lower() != wanted.lower():
            name = there.rpartition("/")[2] or "none"
            found.append(f"subnet {SUBNET} has the {word} {name}, not {wanted.rpartition('/')[2]}")
    return found


def with_subnet(existing: Body, group: str, nat: str | None) -> dict[str, Any]:
    """A virtual network's body with the subnet as wanted, all else as it is. Raises NoRoom."""
    subnets = [dict(one) for one in _list(existing, "subnets")]
    mine = find_subnet(existing)
    if mine is None:
        taken = [prefix for one in subnets for prefix in subnet_prefixes(one)]
        space = address_prefixes(existing)
        subnets.append(_subnet(free_block(space, taken, SUBNET_PREFIX), group, nat))
    else:
        properties = {**mine.get("properties", {}), "networkSecurityGroup": {"id": group}}
        if nat:
            properties["natGateway"] = {"id": nat}
        subnets = [
            {**one, "properties": properties} if one.get("name") == SUBNET else one
            for one in subnets
        ]
    properties = {**existing.get("properties", {}), "subnets": subnets}
    return {**_plain(existing), "properties": properties}


def public_address(region: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Body of the address that machines behind the NAT gateway show to the world."""
    return {
        "location": region,
        "tags": dict(tags),
        "sku": {"name": "Standard"},
        "properties": {"publicIPAllocationMethod": "Static"},
    }


def nat_gateway(region: str, address: str, tags: Mapping[str, str]) -> dict[str, Any]:
    """Body of the NAT gateway; ``address`` is the id of its public address."""
    return {
        "location": region,
        "tags": dict(tags),
        "sku": {"name": "Standard"},
        "properties": {"idleTimeoutInMinutes": 10, "publicIpAddresses": [{"id": address}]},
    }


def nat_differences(existing: Body, address: str) -> list[str]:
    """In what a NAT gateway is not as wanted."""
    ids = {str(one.get("id", "")).lower() for one in _list(existing, "publicIpAddresses")}
    if address.lower() in ids:
        return []
    return [f"it does not use the public address {address.rpartition('/')[2]}"]


def with_address(existing: Body, address: str) -> dict[str, Any]:
    """The NAT gateway's body with the address added."""
    addresses = [*_list(existing, "publicIpAddresses"), {"id": address}]
    properties = {**existing.get("properties", {}), "publicIpAddresses": addresses}
    return {**_plain(existing), "properties": properties}


def free_block(space: Iterable[str], taken: Iterable[str], prefix: int) -> IPNetwork:
    """The first block of that size in ``space`` that overlaps with none that is taken.

    Raises
    ------
    NoRoom
        There is none.
    """
    used = [ipaddress.ip_network(one, strict=False) for one in taken]
    wide = list(space)
    for text in wide:
        whole = ipaddress.ip_network(text, strict=False)
        size = max(prefix, whole.prefixlen)
        for block in whole.subnets(new_prefix=size):
            if not any(_overlap(block, one) for one in used):
                return block
    raise NoRoom(f"no free block of size /{prefix} is left in {', '.join(wide)}")


def find_subnet(network: Body, name: str = SUBNET) -> Body | None:
    """A subnet of a virtual network's body."""
    found = (one for one in _list(network, "subnets") if one.get("name") == name)
    return next(found, None)


def address_prefixes(network: Body) -> list[str]:
    """The address space of a virtual network's body."""
    space = network.get("properties", {}).get("addressSpace") or {}
    return [str(one) for one in space.get("addressPrefixes") or ()]


def subnet_prefixes(subnet: Body) -> list[str]:
    """The address prefixes of a subnet's body."""
    return sorted(_either(subnet.get("properties", {}), "addressPrefix", "addressPrefixes"))


def _overlap(one: IPNetwork, other: IPNetwork) -> bool:
    return (
        one.version == other.version
        and int(one.network_address) <= int(other.broadcast_address)
        and int(other.network_address) <= int(one.broadcast_address)
    )


def _subnet(block: IPNetwork, group: str, nat: str | None) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "addressPrefix": str(block),
        "networkSecurityGroup": {"id": group},
        # New networks have no way out but an explicit one; older API versions need to be told.
        "defaultOutboundAccess": False,
    }
    if nat:
        properties["natGateway"] = {"id": nat}
    return {"name": SUBNET, "properties": properties}


def _either(properties: Body, one: str, several: str) -> frozenset[str]:
    """Azure has such fields in the singular and in the plural; either may be there."""
    single = properties.get(one)
    found = [str(each) for each in properties.get(several) or ()]
    return frozenset([*found, *([str(single)] if single else [])])


def _list(body: Body, key: str) -> list[Body]:
    return list(body.get("properties", {}).get(key) or ())


def _plain(body: Body) -> dict[str, Any]:
    """A body without what only the Resource Manager writes."""
    return {key: body[key] for key in ("location", "tags", "sku", "zones") if body.get(key)}


def _in_range(port: int, text: str) -> bool:
    if text == "*":
        return True
    first, _, last = text.partition("-")
    return int(first) <= port <= int(last or first)
