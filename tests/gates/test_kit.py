"""The conformance kit finds gates that break the contract."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from skyport_gates.conformance import (
    ElasticGateConformance,
    GateConformance,
    StaticGateConformance,
    SuspendConformance,
)
from skyport_gates.gate import (
    Flavor,
    Gate,
    Node,
    NodeHealth,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    SSHEndpoint,
    StaticGate,
    Suspend,
)

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGu3eb0kBm2Bp0m9Xx2yR0Yd2mAf0Ff8ZcXkG0Jq1m3L"


class Fixed(StaticGate):
    """A gate over one node that does not exist; subclasses break it."""

    async def flavors(self) -> list[Flavor]:
        return [Flavor("f", cpus=1, memory=1024, capacity=1)]

    async def nodes(self) -> list[Node]:
        return [Node("n", SSHEndpoint("127.0.0.1", 1, host_keys=(KEY,)), flavor="f")]


class WrongCapacity(Fixed):
    async def flavors(self) -> list[Flavor]:
        return [Flavor("f", cpus=1, memory=1024, capacity=2)]


class NoHostKey(Fixed):
    async def nodes(self) -> list[Node]:
        return [Node("n", SSHEndpoint("127.0.0.1", 1), flavor="f")]


class DownWithoutReason(Fixed):
    async def nodes(self) -> list[Node]:
        (node,) = await super().nodes()
        return [node, replace(node, name="m", health=NodeHealth.DOWN)]


class TwiceTheSameFlavor(Fixed):
    async def flavors(self) -> list[Flavor]:
        return await super().flavors() * 2


class Elastic(Gate):
    """A gate over partitions that exist on paper; subclasses break it."""

    def __init__(self) -> None:
        super().__init__()
        self.made: dict[str, Partition] = {}

    async def flavors(self) -> list[Flavor]:
        return [Flavor("f", cpus=1, memory=1024)]

    async def create(self, request: PartitionRequest) -> None:
        self.made[request.name] = Partition(
            request.name, PartitionStatus.CREATING, tags=request.tags
        )

    async def get(self, name: str) -> Partition:
        try:
            return self.made[name]
        except KeyError:
            raise PartitionNotFound(name) from None

    async def list(self) -> list[Partition]:
        return [*self.made.values()]

    async def delete(self, name: str) -> None:
        self.made.pop(name, None)


class AnyFlavor(Elastic):
    """Accepts flavors that it does not have."""


class WithoutTags(Elastic):
    async def list(self) -> list[Partition]:
        return [replace(partition, tags={}) for partition in self.made.values()]


class NotIdempotent(Elastic):
    async def create(self, request: PartitionRequest) -> None:
        await super().create(replace(request, name=request.name))
        self.made[f"{request.name}/{uuid.uuid4()}"] = self.made[request.name]


class Forgetful(Elastic):
    """Knows its partitions only as long as it lives."""


class DeleteComplains(Elastic):
    async def delete(self, name: str) -> None:
        del self.made[name]


class Sleeper(Elastic, Suspend):
    """Partitions that can sleep, on paper; subclasses break it."""

    async def create(self, request: PartitionRequest) -> None:
        key = SSHEndpoint("127.0.0.1", 1, host_keys=(KEY,))
        node = Node(f"{request.name}-0", key, flavor="f")
        self.made.setdefault(
            request.name, Partition(request.name, PartitionStatus.READY, (node,), tags=request.tags)
        )

    async def suspend(self, name: str) -> None:
        self._turn(name, PartitionStatus.SUSPENDED)

    async def resume(self, name: str) -> None:
        self._turn(name, PartitionStatus.READY)

    def _turn(self, name: str, status: PartitionStatus) -> None:
        if name not in self.made:
            raise PartitionNotFound(name)
        self.made[name] = replace(self.made[name], status=status)


class NeverSleeps(Sleeper):
    async def suspend(self, name: str) -> None:
        self._turn(name, PartitionStatus.SUSPENDING)


class SleepsFromReady(Sleeper):
    async def suspend(self, name: str) -> None:
        self._turn(name, PartitionStatus.READY)


class WakesOnce(Sleeper):
    async def resume(self, name: str) -> None:
        self._turn(name, PartitionStatus.CREATING)


class KnowsAll(Sleeper):
    def _turn(self, name: str, status: PartitionStatus) -> None:
        if name in self.made:
            super()._turn(name, status)


FAULTY = (AssertionError, pytest.fail.Exception, OSError, KeyError, PartitionNotFound)


def _kit(base: type[GateConformance], make: Callable[[], Gate], tmp_path: Path) -> GateConformance:
    class Kit(base):  # type: ignore[misc, valid-type]
        gone_timeout = 0.2
        ready_timeout = 0.2
        asleep_timeout = 0.2

        def make_gate(self) -> Gate:
            return make()

        async def log_in(self, node: Node) -> str:
            # Those that sleep do so on paper; the others shall be found out.
            return "conformance" if base is SuspendConformance else await super().log_in(node)

    kit: GateConformance = Kit()
    GateConformance._context.__wrapped__(kit, tmp_path)  # type: ignore[attr-defined]
    return kit


@pytest.mark.parametrize(
    ("base", "make", "test"),
    [
        (StaticGateConformance, WrongCapacity, "nodes_and_flavors_agree"),
        (StaticGateConformance, NoHostKey, "every_hop_of_every_endpoint_has_a_host_key"),
        (StaticGateConformance, DownWithoutReason, "a_node_that_is_down_says_why"),
        (StaticGateConformance, TwiceTheSameFlavor, "flavors_are_well_formed"),
        (StaticGateConformance, Fixed, "the_core_can_log_in_to_the_nodes_that_are_up"),
        (ElasticGateConformance, AnyFlavor, "an_unknown_flavor_is_an_invalid_request"),
        (ElasticGateConformance, WithoutTags, "a_partition_is_listed_with_its_tags_once_accepted"),
        (ElasticGateConformance, NotIdempotent, "create_twice_makes_one"),
        (ElasticGateConformance, Forgetful, "partitions_survive_a_restart_of_the_core"),
        (ElasticGateConformance, DeleteComplains, "delete_of_an_unknown_name_is_no_error"),
        (SuspendConformance, NeverSleeps, "a_sleeping_partition_can_be_deleted"),
        (SuspendConformance, SleepsFromReady, "a_sleeping_partition_can_be_deleted"),
        (SuspendConformance, WakesOnce, "suspend_and_resume_are_idempotent"),
        (SuspendConformance, Sleeper, "a_sleep_survives_a_restart_of_the_core"),
        (SuspendConformance, KnowsAll, "what_does_not_exist_neither_sleeps_nor_wakes"),
    ],
)
async def test_the_kit_finds_the_fault(
    base: type[GateConformance], make: Callable[[], Gate], test: str, tmp_path: Path
) -> None:
    check: Callable[[], Awaitable[None]] = getattr(_kit(base, make, tmp_path), f"test_{test}")
    with pytest.raises(FAULTY):
        await check()


async def test_the_kit_passes_partitions_that_can_sleep(tmp_path: Path) -> None:
    kit = _kit(SuspendConformance, Sleeper, tmp_path)
    assert isinstance(kit, SuspendConformance)
    await kit.test_suspend_and_resume_are_idempotent()
    await kit.test_a_sleeping_partition_can_be_deleted()
    await kit.test_what_does_not_exist_neither_sleeps_nor_wakes()


async def test_the_kit_passes_a_gate_that_keeps_the_contract(tmp_path: Path) -> None:
    kit = _kit(StaticGateConformance, Fixed, tmp_path)
    assert isinstance(kit, StaticGateConformance)
    await kit.test_nodes_and_flavors_agree()
    await kit.test_every_hop_of_every_endpoint_has_a_host_key()
    await kit.test_nothing_can_be_created()
