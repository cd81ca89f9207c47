"""The kit with which a gate proves that it keeps the contract of :mod:`skyport_gates.gate`.

A gate's own test module derives a class from :class:`StaticGateConformance` (fixed nodes) or
:class:`ElasticGateConformance` (partitions on demand) and says how to make the gate::

    import pytest

    pytest.register_assert_rewrite("skyport_gates.conformance")
    from skyport_gates.conformance import ElasticGateConformance

    class TestMyGate(ElasticGateConformance):
        ready_timeout = 900.0

        def make_gate(self):
            return MyGate(region="north")

It needs pytest and pytest-asyncio, and works in both of the latter's modes. Fixtures of the
gate's own (an endpoint to talk to, credentials) are ``autouse`` fixtures of the derived class
that set attributes on ``self``. The elastic tests create partitions for real, one or two each,
and wait until these are gone again.
"""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import asyncssh
import pytest

from .gate import (
    Gate,
    GateContext,
    InvalidRequest,
    Node,
    NodeHealth,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    SSHEndpoint,
    StaticGate,
)

T = TypeVar("T")
CANCEL_AFTER = (0.0, 0.002, 0.02, 0.1)
"""Seconds after which a call is cancelled, in turn."""


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
            assert await _seconds(gate.flavors) < self.cache_time

    async def test_images_have_distinct_names(self) -> None:
        """images() may be empty."""
        async with self.opened() as gate:
            names = [image.name for image in await gate.images()]
        assert len(set(names)) == len(names), f"image names differ: {names}"

    async def test_every_call_can_be_cancelled_and_repeated(self) -> None:
        """A call that was cancelled can be made again and then works."""
        async with self.opened() as gate:
            for delay in CANCEL_AFTER:
                await _cancelled(gate.flavors(), delay)
                await _cancelled(gate.list(), delay)
                await _cancelled(gate.delete("unknown"), delay)
            await gate.flavors()
            await gate.list()
            await gate.delete("unknown")

    async def test_start_can_be_cancelled_and_repeated(self) -> None:
        """A cancelled start() leaves a gate that can be started."""
        gate = self.new_gate()
        try:
            for delay in CANCEL_AFTER:
                await _cancelled(gate.start(), delay)
            await gate.start()
            await gate.flavors()
        finally:
            await gate.close(idle=True)

    async def test_get_of_an_unknown_name_is_not_found(self) -> None:
        """get() says so when there is no such partition."""
        async with self.opened() as gate:
            with pytest.raises(PartitionNotFound):
                await gate.get(_new_name())

    async def test_delete_of_an_unknown_name_is_no_error(self) -> None:
        """delete() of what does not exist does nothing."""
        async with self.opened() as gate:
            await gate.delete(_new_name())


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

        return await _eventually(up, 30.0, "a node is up")

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
            assert await _seconds(gate.nodes) < self.cache_time

    async def test_every_hop_of_every_endpoint_has_a_host_key(self) -> None:
        """No machine is reached without knowing its key."""
        async with self.opened() as gate:
            for node in await self.healthy_nodes(gate):
                _check_endpoint(node)

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
                    PartitionRequest(_new_name(), flavor, self.username, self.context.user_ca)
                )
            assert await gate.list() == []


class ElasticGateConformance(GateConformance):
    """What holds for a gate that makes partitions on demand."""

    ready_timeout = 600.0
    """Seconds a partition may take to become READY."""

    gone_timeout = 600.0
    """Seconds a partition may take to be gone after delete()."""

    flavor = ""
    """Flavor to create; "": the first one on offer."""

    async def request(self, gate: Gate, *, flavor: str = "") -> PartitionRequest:
        """A request with a new name and the tags that the core sets."""
        name = _new_name()
        return PartitionRequest(
            name=name,
            flavor=flavor or self.flavor or (await gate.flavors())[0].name,
            username=self.username,
            user_ca=self.context.user_ca,
            tags={"skyport-core": self.context.core_id, "skyport-partition": name},
        )

    @contextlib.asynccontextmanager
    async def created(self, gate: Gate) -> AsyncIterator[PartitionRequest]:
        """A partition that the site has accepted; gone at the end."""
        request = await self.request(gate)
        try:
            await gate.create(request)
            yield request
        finally:
            await gate.delete(request.name)
            await self.gone(gate, request.name)

    async def ready(self, gate: Gate, name: str) -> Partition:
        """Wait until a partition is READY."""

        async def look() -> Partition | None:
            partition = await gate.get(name)
            assert partition.status is not PartitionStatus.FAILED, f"failed: {partition.error}"
            return partition if partition.status is PartitionStatus.READY else None

        return await _eventually(look, self.ready_timeout, f"partition {name} is ready")

    async def gone(self, gate: Gate, name: str) -> None:
        """Wait until get() and list() show a partition no more."""

        async def look() -> bool:
            try:
                await gate.get(name)
            except PartitionNotFound:
                return True
            return False

        await _eventually(look, self.gone_timeout, f"partition {name} is gone")
        assert name not in await _names(gate), "what get() does not find, list() does not show"

    async def test_a_partition_is_listed_with_its_tags_once_accepted(self) -> None:
        """list() and get() show it as soon as create() has returned."""
        async with self.opened() as gate, self.created(gate) as request:
            listed = {partition.name: partition for partition in await gate.list()}
            assert request.name in listed, "an accepted partition is listed"
            tags = listed[request.name].tags.items()
            assert request.tags.items() <= tags, f"its tags are shown: {dict(tags)}"
            assert (await gate.get(request.name)).name == request.name

    async def test_a_ready_partition_has_nodes_that_let_the_core_in(self) -> None:
        """READY means: complete nodes with host keys, where the user's login works."""
        async with self.opened() as gate, self.created(gate) as request:
            partition = await self.ready(gate, request.name)
            assert len(partition.nodes) == request.count
            for node in partition.nodes:
                _check_endpoint(node)
                assert await self.log_in(node) == "conformance"

    async def test_create_twice_makes_one(self) -> None:
        """create() is idempotent by name, one call after the other."""
        async with self.opened() as gate, self.created(gate) as request:
            await gate.create(request)
            assert (await _names(gate)).count(request.name) == 1
            await self.ready(gate, request.name)
            await gate.create(request)
            assert (await _names(gate)).count(request.name) == 1

    async def test_two_creates_at_once_make_one(self) -> None:
        """create() is idempotent by name, also when two calls run at the same time."""
        async with self.opened() as gate:
            request = await self.request(gate)
            try:
                await asyncio.gather(gate.create(request), gate.create(request))
                assert (await _names(gate)).count(request.name) == 1
            finally:
                await gate.delete(request.name)
                await self.gone(gate, request.name)

    async def test_partitions_survive_a_restart_of_the_core(self) -> None:
        """Another gate of the same core finds the partition and can delete it."""
        async with self.opened() as gate, self.created(gate) as request:
            await gate.close(idle=False)
            async with self.opened() as successor:
                assert request.name in await _names(successor)
                await self.ready(successor, request.name)
            await gate.start()

    async def test_delete_is_idempotent(self) -> None:
        """delete() may be repeated, before and after the partition is gone."""
        async with self.opened() as gate, self.created(gate) as request:
            await self.ready(gate, request.name)
            await gate.delete(request.name)
            await gate.delete(request.name)
            await self.gone(gate, request.name)
            await gate.delete(request.name)

    async def test_a_partition_can_be_deleted_while_it_is_made(self) -> None:
        """delete() right after create() leaves nothing."""
        async with self.opened() as gate:
            request = await self.request(gate)
            await gate.create(request)
            await gate.delete(request.name)
            await self.gone(gate, request.name)

    async def test_an_unknown_flavor_is_an_invalid_request(self) -> None:
        """create() refuses it and leaves nothing."""
        async with self.opened() as gate:
            request = await self.request(gate, flavor="no-such-flavor")
            with pytest.raises(InvalidRequest):
                await gate.create(request)
            assert request.name not in await _names(gate)

    async def test_a_cancelled_create_leaves_nothing_behind_after_delete(self) -> None:
        """Whatever a cancelled create() half made is found by delete()."""
        async with self.opened() as gate:
            for delay in CANCEL_AFTER:
                request = await self.request(gate)
                await _cancelled(gate.create(request), delay)
                await gate.delete(request.name)
                await self.gone(gate, request.name)

    async def test_a_create_that_was_cancelled_can_be_repeated(self) -> None:
        """The second create() finishes what the first began."""
        async with self.opened() as gate:
            request = await self.request(gate)
            try:
                await _cancelled(gate.create(request), CANCEL_AFTER[1])
                await gate.create(request)
                await self.ready(gate, request.name)
                assert (await _names(gate)).count(request.name) == 1
            finally:
                await gate.delete(request.name)
                await self.gone(gate, request.name)

    async def test_another_cores_partitions_are_not_listed(self, tmp_path: Path) -> None:
        """A gate sees only what carries its own core's tag."""
        other_home = tmp_path / "other"
        other_home.mkdir(mode=0o700)
        other = GateContext(f"core-{uuid.uuid4().hex[:8]}", other_home, self.context.user_ca)
        async with (
            self.opened() as gate,
            self.created(gate) as request,
            self.opened(other) as stranger,
        ):
            assert request.name not in await _names(stranger)


def _check_endpoint(node: Node) -> None:
    endpoint: SSHEndpoint | None = node.endpoint
    while endpoint is not None:
        assert endpoint.host and 0 < endpoint.port < 65536, f"{node.name}: {endpoint}"
        keys = [*endpoint.host_keys, *endpoint.host_cas]
        assert keys, f"{node.name}: no host key for {endpoint.host}:{endpoint.port}"
        for line in keys:
            asyncssh.import_public_key(line)
        endpoint = endpoint.jump


def _new_name() -> str:
    return f"conformance-{uuid.uuid4().hex[:12]}"


async def _names(gate: Gate) -> list[str]:
    return [partition.name for partition in await gate.list()]


async def _seconds(call: Callable[[], Awaitable[object]]) -> float:
    begin = time.monotonic()
    await call()
    return time.monotonic() - begin


async def _cancelled(call: Awaitable[object], delay: float) -> None:
    """Run a call for ``delay`` seconds, then cancel it; what it raises by itself is raised."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=delay)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _eventually(look: Callable[[], Awaitable[T | None]], timeout: float, what: str) -> T:
    deadline = time.monotonic() + timeout
    pause = 0.05
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    return found
