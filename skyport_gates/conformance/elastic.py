"""What holds for a gate that makes partitions on demand."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..gate import (
    Gate,
    GateContext,
    InvalidRequest,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
)
from .base import GateConformance
from .looking import CANCEL_AFTER, cancelled, check_endpoint, eventually, names, new_name


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
        name = new_name()
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

        return await eventually(look, self.ready_timeout, f"partition {name} is ready")

    async def gone(self, gate: Gate, name: str) -> None:
        """Wait until get() and list() show a partition no more."""

        async def look() -> bool:
            try:
                await gate.get(name)
            except PartitionNotFound:
                return True
            return False

        await eventually(look, self.gone_timeout, f"partition {name} is gone")
        assert name not in await names(gate), "what get() does not find, list() does not show"

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
                check_endpoint(node)
                assert await self.log_in(node) == "conformance"

    async def test_create_twice_makes_one(self) -> None:
        """create() is idempotent by name, one call after the other."""
        async with self.opened() as gate, self.created(gate) as request:
            await gate.create(request)
            assert (await names(gate)).count(request.name) == 1
            await self.ready(gate, request.name)
            await gate.create(request)
            assert (await names(gate)).count(request.name) == 1

    async def test_two_creates_at_once_make_one(self) -> None:
        """create() is idempotent by name, also when two calls run at the same time."""
        async with self.opened() as gate:
            request = await self.request(gate)
            try:
                await asyncio.gather(gate.create(request), gate.create(request))
                assert (await names(gate)).count(request.name) == 1
            finally:
                await gate.delete(request.name)
                await self.gone(gate, request.name)

    async def test_partitions_survive_a_restart_of_the_core(self) -> None:
        """Another gate of the same core finds the partition and can delete it."""
        async with self.opened() as gate, self.created(gate) as request:
            await gate.close(idle=False)
            async with self.opened() as successor:
                assert request.name in await names(successor)
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
            assert request.name not in await names(gate)

    async def test_a_cancelled_create_leaves_nothing_behind_after_delete(self) -> None:
        """Whatever a cancelled create() half made is found by delete()."""
        async with self.opened() as gate:
            for delay in CANCEL_AFTER:
                request = await self.request(gate)
                await cancelled(gate.create(request), delay)
                await gate.delete(request.name)
                await self.gone(gate, request.name)

    async def test_a_create_that_was_cancelled_can_be_repeated(self) -> None:
        """The second create() finishes what the first began."""
        async with self.opened() as gate:
            request = await self.request(gate)
            try:
                await cancelled(gate.create(request), CANCEL_AFTER[1])
                await gate.create(request)
                await self.ready(gate, request.name)
                assert (await names(gate)).count(request.name) == 1
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
            assert request.name not in await names(stranger)
