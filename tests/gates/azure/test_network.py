"""The network that setup makes, and whether SSH gets through one: plain data in, plain data out."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from skyport_gates.azure import network as net
from skyport_gates.azure.reach import Way, deciding_rule, open_sources, way_from

GROUP = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/networkSecurityGroups/n"
NAT = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/natGateways/n"
CORE = ipaddress.ip_address("10.1.0.4")


def network(*prefixes: str, subnets: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    space = {"addressPrefixes": list(prefixes)}
    return {"location": "westeurope", "properties": {"addressSpace": space, "subnets": subnets}}


def peered(state: str) -> dict[str, Any]:
    body = network("10.64.0.0/16")
    remote = {"addressPrefixes": ["10.1.0.0/16"]}
    peering = {"properties": {"peeringState": state, "remoteAddressSpace": remote}}
    body["properties"]["virtualNetworkPeerings"] = [peering]
    return body


# -- blocks of addresses ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        ([], "10.64.0.0/16"),
        (["10.64.0.0/16"], "10.65.0.0/16"),
        (["10.64.7.0/24", "10.65.0.0/16"], "10.66.0.0/16"),
        (["10.0.0.0/9"], None),
        (["10.0.0.0/10", "192.168.0.0/16", "fd00::/48"], "10.64.0.0/16"),
    ],
)
def test_the_first_free_block_is_taken(taken: list[str], expected: str | None) -> None:
    if expected is None:
        with pytest.raises(net.NoRoom, match="/16"):
            net.free_block(["10.64.0.0/10"], taken, 16)
    else:
        assert str(net.free_block(["10.64.0.0/10"], taken, 16)) == expected


def test_a_space_that_is_smaller_than_a_block_is_taken_whole() -> None:
    assert str(net.free_block(["192.168.5.0/24"], [], 16)) == "192.168.5.0/24"


# -- security group --------------------------------------------------------------------------------


def test_a_group_as_setup_makes_it_has_no_differences() -> None:
    rules = net.wanted_rules(["10.0.0.4/32"])
    body = net.security_group("westeurope", rules, {})
    assert net.rule_differences(body, rules, any_core=False) == []


def test_a_rule_with_another_source_is_shown_as_it_is_and_as_wanted() -> None:
    body = net.security_group("westeurope", net.wanted_rules(["10.0.0.4/32"]), {})
    (said,) = net.rule_differences(body, net.wanted_rules(["10.0.0.5/32"]), any_core=False)
    assert "10.0.0.4/32" in said
    assert "wanted" in said
    assert "10.0.0.5/32" in said


def test_the_core_rule_is_left_alone_when_no_address_is_asked_for() -> None:
    body = net.security_group("westeurope", net.wanted_rules(["10.0.0.4/32"]), {})
    assert net.rule_differences(body, net.wanted_rules([]), any_core=True) == []


def test_rules_of_the_admin_stay_when_ours_are_changed() -> None:
    own = net.Rule("monitoring", 200, "Allow", frozenset({"10.9.0.0/16"}), frozenset({"9100"}))
    body = net.security_group("westeurope", [own, *net.wanted_rules(["10.0.0.4/32"])], {})
    changed = net.with_rules(body, net.wanted_rules(["10.0.0.5/32"]))
    rules = {rule.name: rule for rule in map(net.Rule.read, changed["properties"]["securityRules"])}
    assert rules["monitoring"] == own
    assert rules[net.CORE_RULE].sources == {"10.0.0.5/32"}


def test_several_addresses_of_the_core_are_one_rule() -> None:
    (rule, _) = net.wanted_rules(["10.0.0.4/32", "10.0.0.5/32"])
    body = rule.body()
    assert "sourceAddressPrefix" not in body["properties"]
    assert net.Rule.read(body) == rule


# -- virtual network -------------------------------------------------------------------------------


def test_a_network_as_setup_makes_it_has_no_differences() -> None:
    block = net.free_block(["10.64.0.0/10"], [], 16)
    body = net.virtual_network("westeurope", block, GROUP, NAT, {})
    assert net.network_differences(body, GROUP, NAT) == []
    assert net.network_differences(body, GROUP.upper(), None) == []


def test_a_network_without_the_subnet_gets_one_in_a_free_place() -> None:
    other = {"name": "hub", "properties": {"addressPrefix": "10.7.0.0/18"}}
    body = network("10.7.0.0/16", subnets=[other])
    assert net.network_differences(body, GROUP, None) == ["it has no subnet 'nodes'"]
    changed = net.with_subnet(body, GROUP, None)
    assert changed["properties"]["subnets"][0] == other
    subnet = net.find_subnet(changed)
    assert subnet is not None
    assert net.subnet_prefixes(subnet) == ["10.7.64.0/18"]


def test_what_the_admin_set_on_the_subnet_stays() -> None:
    own = {"addressPrefix": "10.7.0.0/20", "serviceEndpoints": [{"service": "x"}]}
    mine = {"name": "nodes", "properties": own}
    body = network("10.7.0.0/16", subnets=[mine])
    (said,) = net.network_differences(body, GROUP, None)
    assert "security group none" in said
    subnet = net.find_subnet(net.with_subnet(body, GROUP, None))
    assert subnet is not None
    assert subnet["properties"] == {**own, "networkSecurityGroup": {"id": GROUP}}


# -- the way for SSH -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "way"),
    [
        (network("10.1.0.0/16"), Way.INSIDE),
        (network("10.2.0.0/16"), Way.OUTSIDE),
        (peered("Connected"), Way.PEERED),
        (peered("Initiated"), Way.BROKEN),
    ],
)
def test_where_the_core_is(body: dict[str, Any], way: Way) -> None:
    assert way_from(CORE, body) is way


@pytest.mark.parametrize(
    ("sources", "way", "rule"),
    [
        (["10.1.0.4/32"], Way.OUTSIDE, net.CORE_RULE),
        (["10.1.0.0/16"], Way.PEERED, net.CORE_RULE),
        (["10.1.0.5/32"], Way.PEERED, net.DENY_RULE),
        ([], Way.INSIDE, net.CORE_RULE),
        ([], Way.PEERED, net.CORE_RULE),
        ([], Way.OUTSIDE, net.DENY_RULE),
        (["10.64.0.0/16"], Way.PEERED, net.DENY_RULE),
        (["10.64.0.0/16"], Way.OUTSIDE, net.DENY_RULE),
    ],
)
def test_the_first_rule_that_fits_decides(sources: list[str], way: Way, rule: str) -> None:
    assert deciding_rule(net.wanted_rules(sources), CORE, 22, way).name == rule


def test_a_rule_for_other_ports_does_not_decide() -> None:
    rules = [net.Rule("web", 100, "Deny", frozenset({"*"}), frozenset({"80", "8000-9000"}), "Tcp")]
    assert deciding_rule(rules, CORE, 22, Way.INSIDE).name == "AllowVnetInBound"
    assert deciding_rule(rules, CORE, 8888, Way.INSIDE).name == "web"


def test_open_sources_are_those_of_allowing_rules() -> None:
    assert open_sources(net.wanted_rules(["203.0.113.7/32"]), 22) == ["203.0.113.7/32"]
