"""The Azure gate passes the conformance kit, against machines that are real SSH servers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import asyncssh
import pytest

from skyport_gates.azure.gate import AzureGate
from skyport_gates.conformance import SuspendConformance
from skyport_gates.gate import Gate, SSHEndpoint
from tests.infra.arm.backends.node import NodeBackend
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric() as fabric:
        yield fabric


@needs_nodes
class TestAzureGate(SuspendConformance):
    """Virtual machines that obey their custom data."""

    ready_timeout = 20.0
    gone_timeout = 20.0
    asleep_timeout = 20.0

    @pytest.fixture(autouse=True)
    async def _endpoint(self, _context: None, fabric: Fabric) -> AsyncIterator[None]:
        backend = NodeBackend(fabric)
        async with ArmEndpoint(backend=backend) as endpoint:
            self.fabric = fabric
            self.options = endpoint.gate_options(
                bootstrap="none", sizes=["Standard_D2s_v5"], regions=["westeurope"]
            )
            yield
            assert endpoint.arm.leftovers() == []

    def make_gate(self) -> Gate:
        return AzureGate(**self.options)

    async def _connect(
        self, endpoint: SSHEndpoint, stack: contextlib.AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        """As the kit does it, but from the hub's side of the network."""
        login = endpoint.username.replace("{username}", self.username)
        keys = [asyncssh.import_public_key(line) for line in endpoint.host_keys]

        async def dial() -> asyncssh.SSHClientConnection | None:
            try:
                sock = self.fabric.hub.connect(endpoint.host, endpoint.port)
                sock.setblocking(False)
                return await asyncssh.connect(
                    sock=sock,
                    config=None,
                    agent_path=None,
                    username=login,
                    client_keys=[self._certificate(login)],
                    known_hosts=(keys, [], []),
                )
            except (OSError, asyncssh.Error):
                return None

        # A machine is READY, as the gate's contract has it, before it has booted.
        connection = await eventually(dial, f"login on {endpoint.host}", timeout=20)
        assert connection is not None
        return await stack.enter_async_context(connection)
