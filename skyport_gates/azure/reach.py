"""Whether a connection from the core's address would get to a machine in a subnet."""

from __future__ import annotations

import enum
import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .network import Rule, address_prefixes

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

DEFAULT_RULES = (
    Rule("AllowVnetInBound", 65000, "Allow", frozenset({"VirtualNetwork"})),
    Rule("AllowAzureLoadBalancerInBound", 65001, "Allow", frozenset({"AzureLoadBalancer"})),
    Rule("DenyAllInBound", 65500, "Deny", frozenset({"*"})),
)
"""What every network security group has at its end."""


class Way(enum.Enum):
    """How an address lies to a virtual network."""

    INSIDE = "in the virtual network"
    PEERED = "in a network that is peered with it"
    BROKEN = "in a network whose peering with it is not connected"
    OUTSIDE = "neither in the virtual network nor in one that is peered with it"


def way_from(address: IPAddress, network: Mapping[str, Any]) -> Way:
    """How an address lies to a virtual network, by that network's body."""
    if _within(address, address_prefixes(network)):
        return Way.INSIDE
    found = Way.OUTSIDE
    for peering in network.get("properties", {}).get("virtualNetworkPeerings") or ():
        properties = peering.get("properties", {})
        space = properties.get("remoteAddressSpace") or {}
        if _within(address, space.get("addressPrefixes") or ()):
            if str(properties.get("peeringState", "")).lower() == "connected":
                return Way.PEERED
            found = Way.BROKEN
    return found


def deciding_rule(rules: Iterable[Rule], address: IPAddress, port: int, way: Way) -> Rule:
    """The rule that decides over connections from an address to a port: the first that fits."""
    inbound = [rule for rule in rules if rule.direction.lower() == "inbound"]
    for rule in sorted([*inbound, *DEFAULT_RULES], key=lambda rule: rule.priority):
        if rule.covers_port(port) and _from(address, rule.sources, way):
            return rule
    return DEFAULT_RULES[-1]


def open_sources(rules: Iterable[Rule], port: int) -> Sequence[str]:
    """Where connections to a port may come from, as far as allowing rules say it."""
    allowing = [
        rule
        for rule in rules
        if rule.direction.lower() == "inbound"
        and rule.access.lower() == "allow"
        and rule.covers_port(port)
    ]
    return sorted({source for rule in allowing for source in rule.sources})


def _from(address: IPAddress, sources: Iterable[str], way: Way) -> bool:
    joined = way in (Way.INSIDE, Way.PEERED)
    for source in sources:
        tag = source.lower()
        if tag in ("*", "any", "0.0.0.0/0"):
            return True
        if tag == "virtualnetwork" and joined:
            return True
        if tag == "internet" and not joined and address.is_global:
            return True
        if _within(address, [source]):
            return True
    return False


def _within(address: IPAddress, prefixes: Iterable[Any]) -> bool:
    for text in prefixes:
        try:
            block = ipaddress.ip_network(str(text), strict=False)
        except ValueError:
            # A service tag, such as AzureCloud.
            continue
        if block.version == address.version and address in block:
            return True
    return False
