"""The node list of an on-prem site: what it takes, and what it says about mistakes."""

from __future__ import annotations

from typing import Any

import pytest
from traitlets import TraitError

from skyport_gates.inventory import group_flavors, parse_inventory
from skyport_gates.onprem import OnPremGate

NODE: dict[str, Any] = {"name": "n1", "host": "10.0.0.1", "cpus": 8, "memory": "16G"}


def _parse(**changes: Any) -> Any:
    (node,) = parse_inventory([{**NODE, **changes}])
    return node


@pytest.mark.parametrize(
    ("given", "mib"),
    [
        (16384, 16384),
        ("16384", 16384),
        ("16G", 16384),
        ("16 GiB", 16384),
        ("16gb", 16384),
        ("1.5T", 1572864),
        ("512M", 512),
        ("2048K", 2),
    ],
)
def test_memory_is_mib_or_text(given: object, mib: int) -> None:
    assert _parse(memory=given).memory == mib


@pytest.mark.parametrize(
    ("changes", "flavor"),
    [
        ({}, "8cpu-16g"),
        ({"gpus": 1, "gpu_type": "A100"}, "8cpu-16g-1xA100"),
        ({"gpus": 2}, "8cpu-16g-2xgpu"),
        ({"cpus": 1.5, "memory": 1000}, "1.5cpu-1000m"),
        ({"flavor": "big"}, "big"),
    ],
)
def test_a_flavor_is_named_after_its_size_unless_given(
    changes: dict[str, Any], flavor: str
) -> None:
    assert _parse(**changes).flavor_name == flavor


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"port": 0}, "node n1: port: "),
        ({"port": 65536}, "node n1: port: "),
        ({"cpus": 0}, "node n1: cpus: "),
        ({"cpus": float("nan")}, "node n1: cpus: "),
        ({"cpus": float("inf")}, "node n1: cpus: "),
        ({"memory": 0}, "node n1: memory: "),
        ({"memory": "lots"}, "node n1: memory: 'lots' is not an amount of memory"),
        ({"gpus": -1}, "node n1: gpus: "),
        ({"price": -1}, "node n1: price: "),
        ({"price": float("nan")}, "node n1: price: "),
        ({"host": ""}, "node n1: host: "),
        ({"host": "a b"}, "node n1: host: "),
        ({"host": "-oProxyCommand=x"}, "node n1: host: "),
        ({"name": "n/1"}, "node n/1: name: "),
        ({"cpu": 8}, "node n1: cpu: there is no such field"),
        ({"jump": {"port": 22}}, "node n1: jump.host: is missing"),
        ({"jump": {"host": "gw", "port": 99999}}, "node n1: jump.port: "),
        ({"host_key": "nonsense"}, "node n1: host_key.0: 'nonsense' is not a public key"),
        ({"host_ca": ["ssh-ed25519 AAAA"]}, "node n1: host_ca.0: "),
        ({"labels": {"rack": 1}}, "node n1: labels.rack: "),
    ],
)
def test_a_mistake_is_reported_with_node_and_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="node") as fault:
        _parse(**changes)
    assert message in str(fault.value)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValueError, match="node n1: host: is missing"):
        parse_inventory([{"name": "n1", "cpus": 1, "memory": 1}])


def test_a_node_without_a_name_is_counted() -> None:
    with pytest.raises(ValueError, match="node number 2: name: is missing"):
        parse_inventory([NODE, {"host": "h", "cpus": 1, "memory": 1}])


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ValueError, match="node") as fault:
        parse_inventory([{**NODE, "port": 0}, {**NODE, "name": "n2", "cpus": 0}])
    assert "node n1: port" in str(fault.value)
    assert "node n2: cpus" in str(fault.value)


def test_duplicate_names_are_refused() -> None:
    with pytest.raises(ValueError, match="node n1: this name is used 2 times"):
        parse_inventory([NODE, {**NODE, "host": "10.0.0.2"}])


def test_nodes_of_one_flavor_must_be_alike() -> None:
    nodes = [{**NODE, "flavor": "big"}, {**NODE, "name": "n2", "flavor": "big", "price": 1.0}]
    with pytest.raises(ValueError, match=r"node n2: price differs from node n1 .*'big'"):
        parse_inventory(nodes)


def test_a_flavor_counts_its_nodes_and_keeps_their_common_labels() -> None:
    nodes = parse_inventory(
        [
            {**NODE, "labels": {"room": "a", "rack": "1"}},
            {**NODE, "name": "n2", "labels": {"room": "a", "rack": "2"}},
            {**NODE, "name": "n3", "cpus": 4},
        ]
    )
    big, small = group_flavors(nodes)
    assert (big.name, big.capacity, dict(big.labels)) == ("8cpu-16g", 2, {"room": "a"})
    assert (small.name, small.capacity) == ("4cpu-16g", 1)


def test_the_gate_refuses_a_wrong_inventory_at_once() -> None:
    with pytest.raises(TraitError, match="node n1: cpus"):
        OnPremGate(name="lab", inventory=[{**NODE, "cpus": 0}])


def test_the_gate_refuses_a_wrong_host_ca_at_once() -> None:
    with pytest.raises(TraitError, match="'nonsense' is not a public key"):
        OnPremGate(name="lab", host_ca=["nonsense"])
