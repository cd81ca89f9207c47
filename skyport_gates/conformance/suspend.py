"""What holds for a gate whose partitions can sleep."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator

import pytest

from ..gate import Gate, Partition, PartitionNotFound, PartitionRequest, PartitionStatus, Suspend
from .elastic import ElasticGateConformance
from .looking import check_endpoint, eventually, names, new_name


class SuspendConformance(ElasticGateConformance):
    """What holds for a gate with the power :class:`~skyport_gates.gate.Suspend`.

    It comes on top of the tests for gates that make partitions on demand.
    """

    asleep_timeout = 600.0
    """Seconds that a partition may take to fall asleep."""

    def sleeper(self, gate: Gate) -> Suspend:
        """The gate's power to suspend."""
        assert isinstance(gate, Suspend), "the gate derives from Suspend"
        return gate

    @contextlib.asynccontextmanager
    async def created_to_sleep(self, gate: Gate) -> AsyncIterator[PartitionRequest]:
        """A partition that can sleep, is READY and lets the core in; gone at the end.

        The core puts to sleep what a job has used. Machines that are cut off in the middle of their
        first boot may never wake as they should.
        """
        request = dataclasses.replace(await self.request(gate), suspendable=True)
        try:
            await gate.create(request)
            for node in (await self.ready(gate, request.name)).nodes:
                assert await self.log_in(node) == "conformance"
            yield request
        finally:
            await gate.delete(request.name)
            await self.gone(gate, request.name)

    async def asleep(self, gate: Gate, name: str) -> Partition:
        """Wait until a partition is SUSPENDED."""
        on_the_way = (PartitionStatus.SUSPENDING, PartitionStatus.SUSPENDED)

        async def look() -> Partition | None:
            partition = await gate.get(name)
            assert partition.status in on_the_way, f"{partition.status} on the way to its sleep"
            return partition if partition.status is PartitionStatus.SUSPENDED else None

        return await eventually(look, self.asleep_timeout, f"partition {name} is asleep")

    async def test_a_partition_sleeps_and_wakes_with_its_host_key(self) -> None:
        """READY → SUSPENDING → SUSPENDED → CREATING → READY; the disks, so the key, are kept."""
        async with self.opened() as gate, self.created_to_sleep(gate) as request:
            before = (await gate.get(request.name)).nodes
            await self.sleeper(gate).suspend(request.name)
            await self.asleep(gate, request.name)
            assert request.name in await names(gate), "a sleeping partition is listed"
            await self.sleeper(gate).resume(request.name)
            after = (await self.ready(gate, request.name)).nodes
            assert [node.name for node in after] == [node.name for node in before]
            for node, old in zip(after, before, strict=True):
                check_endpoint(node)
                assert node.endpoint.host_keys == old.endpoint.host_keys
                assert await self.log_in(node) == "conformance"

    async def test_suspend_and_resume_are_idempotent(self) -> None:
        """Both may be repeated, also at the same time."""
        async with self.opened() as gate, self.created_to_sleep(gate) as request:
            sleeper = self.sleeper(gate)
            await asyncio.gather(sleeper.suspend(request.name), sleeper.suspend(request.name))
            await self.asleep(gate, request.name)
            await sleeper.suspend(request.name)
            await self.asleep(gate, request.name)
            await asyncio.gather(sleeper.resume(request.name), sleeper.resume(request.name))
            await self.ready(gate, request.name)
            await sleeper.resume(request.name)
            assert (await gate.get(request.name)).status is PartitionStatus.READY

    async def test_a_sleep_survives_a_restart_of_the_core(self) -> None:
        """Another gate of the same core finds the partition asleep and can wake it."""
        async with self.opened() as gate, self.created_to_sleep(gate) as request:
            await self.sleeper(gate).suspend(request.name)
            await gate.close(idle=False)
            async with self.opened() as successor:
                await self.asleep(successor, request.name)
                await self.sleeper(successor).resume(request.name)
                await self.ready(successor, request.name)
            await gate.start()

    async def test_a_sleeping_partition_can_be_deleted(self) -> None:
        """delete() needs nobody awake."""
        async with self.opened() as gate, self.created_to_sleep(gate) as request:
            await self.sleeper(gate).suspend(request.name)
            await self.asleep(gate, request.name)
            await gate.delete(request.name)
            await self.gone(gate, request.name)

    async def test_what_does_not_exist_neither_sleeps_nor_wakes(self) -> None:
        """suspend() and resume() of an unknown name are PartitionNotFound."""
        async with self.opened() as gate:
            with pytest.raises(PartitionNotFound):
                await self.sleeper(gate).suspend(new_name())
            with pytest.raises(PartitionNotFound):
                await self.sleeper(gate).resume(new_name())
