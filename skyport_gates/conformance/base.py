"""What holds for every gate."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from ..gate import Gate, GateContext, Node, PartitionNotFound, SSHEndpoint
from .looking import CANCEL_AFTER, cancelled, new_name, seconds


@pytest.mark.asyncio
class GateConformance:
    """What holds for every gate. Derive from one of the two subclasses instead."""

    username = "conformance"
    """Login that is used on the nodes where an endpoint says {username}."""

    cache_time = 1.0
    """Seconds within which flavors() and nodes() must answer."""

    @pytest.fixture(autouse=True)
    def _context(self, tmp_path: Path) -> None:
        home = tmp_path / "gate"
        home.mkdir(mode=0o700)
        self.authority = self.make_authority()
        user_ca = self.authority.export_public_key().decode().strip()
        self.context = GateContext(f"core-{uuid.uuid4().hex[:8]}", home, user_ca)

    def make_gate(self) -> Gate:
        """A new gate, configured and not started. To be given by the derived class."""
        raise NotImplementedError

    def make_authority(self) -> asyncssh.SSHKey:
        """The authority that signs the kit's logins; a new one unless overridden."""
        return asyncssh.generate_private_key("ssh-ed25519")

    def new_gate(self, context: GateContext | None = None) -> Gate:
        """A gate as the core makes it: named, with its context, not started."""
        gate = self.make_gate()
        gate.name = "conformance"
        gate.context = context or self.context
        return gate

    @contextlib.asynccontextmanager
    async def opened(self, context: GateContext | None = None) -> AsyncIterator[Gate]:
        """A started gate that is closed, with nothing left running, at the end."""
        gate = self.new_gate(context)
        await gate.start()
        try:
            yield gate
        finally:
            await gate.close(idle=True)

    async def log_in(self, node: Node) -> str:
        """Log in to a node as the core does and return what ``echo`` printed there."""
        async with contextlib.AsyncExitStack() as stack:
            connection = await self._connect(node.endpoint, stack)
            words = [*node.exec_prefix, "echo", "conformance"]
            result = await connection.run(" ".join(words), check=True, timeout=60)
            return str(result.stdout).strip()

    async def _connect(
        self, endpoint: SSHEndpoint, stack: contextlib.AsyncExitStack
    ) -> asyncssh.SSHClientConnection:
        tunnel = None if endpoint.jump is None else await self._connect(endpoint.jump, stack)
        login = endpoint.username.replace("{username}", self.username)
        keys = [asyncssh.import_public_key(line) for line in endpoint.host_keys]
        authorities = [asyncssh.import_public_key(line) for line in endpoint.host_cas]
        connection = asyncssh.connect(
            endpoint.host,
            endpoint.port,
            tunnel=tunnel or (),
            config=None,
            agent_path=None,
            username=login,
            client_keys=[endpoint.identity_file or self._certificate(login)],
            known_hosts=(keys, authorities, []),
            connect_timeout=30,
        )
        return await stack.enter_async_context(connection)

    def _certificate(self, login: str) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
        key = asyncssh.generate_private_key("ssh-ed25519")
        soon = dt.datetime.now(dt.timezone.utc) + dt.timedelta(minutes=10)
        certificate = self.authority.generate_user_certificate(
            key, "conformance", principals=[login], valid_before=soon
        )
        return key, certificate

    async def test_start_is_idempotent(self) -> None:
        """A second start() changes nothing."""
        async with self.opened() as gate:
            before = await gate.flavors()
            await gate.start()
            assert await gate.flavors() == before

    async def test_two_starts_at_once_are_one(self) -> None:
        """start() may run twice at the same time."""
        gate = self.new_gate()
        try:
            await asyncio.gather(gate.start(), gate.start())
            await gate.flavors()
        finally:
            await gate.close(idle=True)

    async def test_close_is_idempotent_also_without_start(self) -> None:
        """close() may be called at any time and again."""
        gate = self.new_gate()
        await gate.close(idle=True)
        await gate.start()
        await gate.close(idle=False)
        await gate.close(idle=True)
        await gate.close(idle=True)

    async def test_a_closed_gate_can_be_started_again(self) -> None:
        """start() after close() works as the first did."""
        async with self.opened() as gate:
            before = await gate.flavors()
            await gate.close(idle=False)
            await gate.start()
            assert await gate.flavors() == before

    async def test_flavors_are_well_formed(self) -> None:
        """There is a flavor; names differ; sizes are positive."""
        async with self.opened() as gate:
            flavors = await gate.flavors()
        assert flavors, "a gate offers at least one flavor"
        names = [flavor.name for flavor in flavors]
        assert len(set(names)) == len(names), f"flavor names differ: {names}"
        for flavor in flavors:
            assert flavor.name, "a flavor has a name"
            assert flavor.cpus > 0, f"{flavor.name} has cpus"
            assert flavor.memory > 0, f"{flavor.name} has memory (MiB)"
            assert flavor.gpus >= 0, f"{flavor.name} has gpus or none"
            assert flavor.price is None or flavor.price >= 0, f"{flavor.name} has a price or None"
            assert flavor.capacity is None or flavor.capacity >= 0, f"{flavor.name} has a capacity"

    async def test_flavors_come_from_a_cache(self) -> None:
        """flavors() is never slow."""
        async with self.opened() as gate:
            assert await seconds(gate.flavors) < self.cache_time

    async def test_images_have_distinct_names(self) -> None:
        """images() may be empty."""
        async with self.opened() as gate:
            names = [image.name for image in await gate.images()]
        assert len(set(names)) == len(names), f"image names differ: {names}"

    async def test_every_call_can_be_cancelled_and_repeated(self) -> None:
        """A call that was cancelled can be made again and then works."""
        async with self.opened() as gate:
            for delay in CANCEL_AFTER:
                await cancelled(gate.flavors(), delay)
                await cancelled(gate.list(), delay)
                await cancelled(gate.delete("unknown"), delay)
            await gate.flavors()
            await gate.list()
            await gate.delete("unknown")

    async def test_start_can_be_cancelled_and_repeated(self) -> None:
        """A cancelled start() leaves a gate that can be started."""
        gate = self.new_gate()
        try:
            for delay in CANCEL_AFTER:
                await cancelled(gate.start(), delay)
            await gate.start()
            await gate.flavors()
        finally:
            await gate.close(idle=True)

    async def test_get_of_an_unknown_name_is_not_found(self) -> None:
        """get() says so when there is no such partition."""
        async with self.opened() as gate:
            with pytest.raises(PartitionNotFound):
                await gate.get(new_name())

    async def test_delete_of_an_unknown_name_is_no_error(self) -> None:
        """delete() of what does not exist does nothing."""
        async with self.opened() as gate:
            await gate.delete(new_name())
