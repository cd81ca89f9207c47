"""What holds for a gate over fixed nodes."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import pytest

from ..gate import Gate, GateContext, InvalidRequest, Node, NodeHealth, PartitionRequest, StaticGate
from .base import GateConformance
from .looking import check_endpoint, eventually, new_name, seconds


class StaticGateConformance(GateConformance):
    """What holds for a gate over fixed nodes."""

    def new_gate(self, context: GateContext | None = None) -> StaticGate:
        """A gate as the core makes it."""
        gate = super().new_gate(context)
        assert isinstance(gate, StaticGate), "the gate derives from StaticGate"
        return gate

    async def healthy_nodes(self, gate: Gate) -> list[Node]:
        """The nodes, once one of them is up."""
        assert isinstance(gate, StaticGate)

        async def up() -> list[Node]:
            nodes = await gate.nodes()
            return nodes if any(node.health is NodeHealth.UP for node in nodes) else []

        return await eventually(up, 30.0, "a node is up")

    async def test_nodes_and_flavors_agree(self) -> None:
        """Each node is of a flavor that is offered, as large as it says, and counted there."""
        async with self.opened() as gate:
            assert isinstance(gate, StaticGate)
            nodes = await gate.nodes()
            flavors = {flavor.name: flavor for flavor in await gate.flavors()}
        names = [node.name for node in nodes]
        assert nodes and len(set(names)) == len(names), f"node names differ: {names}"
        for node in nodes:
            flavor = flavors[node.flavor]
            size = (flavor.cpus, flavor.memory, flavor.gpus, flavor.gpu_type)
            assert (node.cpus, node.memory, node.gpus, node.gpu_type) == size, node.name
            assert flavor.labels.items() <= node.labels.items(), node.name
        for flavor in flavors.values():
            members = [node for node in nodes if node.flavor == flavor.name]
            assert flavor.capacity == len(members), f"capacity of {flavor.name}"

    async def test_nodes_come_from_a_cache(self) -> None:
        """nodes() is never slow."""
        async with self.opened() as gate:
            assert isinstance(gate, StaticGate)
            assert await seconds(gate.nodes) < self.cache_time

    async def test_every_hop_of_every_endpoint_has_a_host_key(self) -> None:
        """No machine is reached without knowing its key."""
        async with self.opened() as gate:
            for node in await self.healthy_nodes(gate):
                check_endpoint(node)

    async def test_a_node_that_is_down_says_why(self) -> None:
        """``reason`` is given with DOWN, and only then."""
        async with self.opened() as gate:
            for node in await self.healthy_nodes(gate):
                assert bool(node.reason) == (node.health is NodeHealth.DOWN), node

    async def test_the_core_can_log_in_to_the_nodes_that_are_up(self) -> None:
        """The endpoints lead to machines that let the core in."""
        async with self.opened() as gate:
            for node in await self.healthy_nodes(gate):
                if node.health is NodeHealth.UP:
                    assert await self.log_in(node) == "conformance"

    async def test_nothing_can_be_created(self) -> None:
        """create() is an InvalidRequest, and list() stays empty."""
        async with self.opened() as gate:
            flavor = (await gate.flavors())[0].name
            with pytest.raises(InvalidRequest):
                await gate.create(
                    PartitionRequest(new_name(), flavor, self.username, self.context.user_ca)
                )
            assert await gate.list() == []
