"""A site whose only node is down: jobs are taken in, and wait."""

from __future__ import annotations

from skyport_gates.gate import Flavor, Node, NodeHealth, SSHEndpoint, StaticGate


class FullSite(StaticGate):
    """Offers what cannot be had now."""

    async def flavors(self) -> list[Flavor]:
        """One flavor."""
        return [Flavor("node", cpus=8, memory=32768, capacity=1)]

    async def nodes(self) -> list[Node]:
        """One node that is down."""
        endpoint = SSHEndpoint("127.0.0.1", host_keys=("ssh-ed25519 none",))
        return [
            Node(
                "node1",
                endpoint,
                "node",
                cpus=8,
                memory=32768,
                health=NodeHealth.DOWN,
                reason="for the benchmark",
            )
        ]
