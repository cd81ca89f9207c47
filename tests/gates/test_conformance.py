"""The gates of this project, and an elastic site on this machine, pass the conformance kit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyport_gates.conformance import StaticGateConformance, SuspendConformance
from skyport_gates.gate import Gate
from skyport_gates.local import LocalGate
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from skyport_gates.onprem import OnPremGate
from tests.infra.elastic import ElasticTestGate


class TestLocalGate(StaticGateConformance):
    """This machine as a site."""

    def make_gate(self) -> Gate:
        return LocalGate()


class TestOnPremGate(StaticGateConformance):
    """Two nodes, one behind the other."""

    @pytest.fixture(autouse=True)
    async def _node(self, _context: None, tmp_path: Path) -> AsyncIterator[None]:
        home = tmp_path / "node"
        server = LocalProcess(Settings(home, home / "homes", self.context.user_ca))
        attachment = await server.attach()
        self.node = {
            "host": "127.0.0.1",
            "port": attachment.hello.port,
            "host_key": attachment.hello.host_key,
        }
        yield
        await attachment.close()
        await server.stop()

    def make_gate(self) -> Gate:
        size = {"cpus": 2, "memory": "4G"}
        return OnPremGate(
            inventory=[
                {"name": "front", **self.node, **size, "labels": {"rack": "1", "room": "a"}},
                {
                    "name": "behind",
                    **self.node,
                    **size,
                    "labels": {"rack": "2", "room": "a"},
                    "jump": self.node,
                },
            ]
        )


class TestElasticTestGate(SuspendConformance):
    """Partitions of SSH servers on this machine, which can sleep."""

    ready_timeout = 20.0
    gone_timeout = 20.0
    asleep_timeout = 20.0

    def make_gate(self) -> Gate:
        return ElasticTestGate()
