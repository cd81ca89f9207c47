"""Putting partitions to sleep and waking them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any
from weakref import WeakValueDictionary

from ..gate import GateError, GateUnavailable, PartitionNotFound
from .clients import ONCE, Clients
from .errors import is_gone, is_passing, translate
from .fleet import Fleet
from .member import Member, Phase
from .operations import CREATE, HIBERNATE, RESUME, SUSPEND, Operation, Operations, Polling
from .settings import AzureSettings

BOOT = 20.0
"""Seconds that a call waits for the end of a machine's creation, before which it cannot sleep."""


class Sleep:
    """Deallocates machines, which keeps their disks, and starts them again."""

    def __init__(
        self,
        settings: AzureSettings,
        clients: Clients,
        fleet: Fleet,
        operations: Operations,
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._group = settings.resource_group
        self._clients = clients
        self._fleet = fleet
        self._operations = operations
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def close(self) -> None:
        """Stop what was begun by :meth:`begin`."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(self, member: Member) -> None:
        """Put a partition to sleep in the background; a later look sees whether it worked."""
        if member.name not in self._tasks:
            task = asyncio.create_task(self._try(member), name=f"azure sleep {member.name}")
            self._tasks[member.name] = task
            task.add_done_callback(lambda _: self._tasks.pop(member.name, None))

    async def suspend(self, member: Member) -> None:
        """Put a partition to sleep; return once accepted. Idempotent. Raises GateError."""
        async with self._lock(member):
            await self._suspend(member)

    async def resume(self, member: Member) -> None:
        """Wake a partition; return once accepted. Idempotent. Raises GateError."""
        async with self._lock(member):
            await self._resume(member)

    def _lock(self, member: Member) -> asyncio.Lock:
        """Keeps two calls at the same time from asking Azure for the same thing twice."""
        return self._locks.setdefault(member.name, asyncio.Lock())

    async def _suspend(self, member: Member) -> None:
        if member.phase is Phase.ASLEEP:
            return
        if member.phase is Phase.WAKING and not self._idle(member):
            raise GateUnavailable(
                f"Partition {member.name} is still waking up.", hint="It is tried again."
            )
        if member.phase is not Phase.FALLING:
            await self._fleet.move(member, Phase.FALLING)
        try:
            await self._all(member, self._deallocate)
        except GateError as error:
            # Without an answer it may well be on its way: that must not look like an eviction.
            if not is_passing(error) and self._idle(member):
                await self._fleet.move(member, Phase.AWAKE)
            raise

    async def _resume(self, member: Member) -> None:
        if member.phase is Phase.AWAKE:
            return
        if member.phase is Phase.FALLING and not self._idle(member):
            raise GateUnavailable(
                f"Partition {member.name} is still going to sleep.", hint="It is tried again."
            )
        if member.phase is not Phase.WAKING:
            await self._fleet.move(member, Phase.WAKING)
        try:
            await self._all(member, self._start)
        except GateError as error:
            if not is_passing(error) and self._idle(member):
                await self._fleet.move(member, Phase.ASLEEP, error)
            raise

    def _idle(self, member: Member) -> bool:
        return all(self._operations.of(machine) is None for machine in member.machines)

    async def _try(self, member: Member) -> None:
        try:
            await self.suspend(member)
        except GateError as error:
            self._log.warning("Partition %s cannot sleep: %s", member.name, error)

    async def _all(self, member: Member, begin: Any) -> None:
        calls = [begin(member, machine) for machine in member.machines]
        member.asking += 1
        try:
            results = await asyncio.gather(*calls, return_exceptions=True)
        finally:
            member.asking -= 1
            member.moved = asyncio.get_running_loop().time()
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _deallocate(self, member: Member, machine: str) -> None:
        under_way = self._operations.of(machine)
        if under_way is not None and under_way.kind in (SUSPEND, HIBERNATE):
            return
        if under_way is not None and under_way.kind == CREATE:
            # It is READY as soon as it has an address; Azure may still wait for its agent.
            self._operations.look_now(machine)
            await self._operations.wait(machine, BOOT)
        kind = HIBERNATE if member.hibernates else SUSPEND
        machines: Any = self._clients.compute.virtual_machines
        options = {"hibernate": True} if member.hibernates else {}
        polling = self._operations.polling(kind)
        call = machines.begin_deallocate(self._group, machine, polling=polling, **options, **ONCE)
        await self._begin(Operation(kind, machine, member.name), call, polling, member)

    async def _start(self, member: Member, machine: str) -> None:
        under_way = self._operations.of(machine)
        if under_way is not None and under_way.kind == RESUME:
            return
        machines: Any = self._clients.compute.virtual_machines
        polling = self._operations.polling(RESUME)
        call = machines.begin_start(self._group, machine, polling=polling, **ONCE)
        await self._begin(Operation(RESUME, machine, member.name), call, polling, member)

    async def _begin(
        self, operation: Operation, call: Awaitable[Any], polling: Polling, member: Member
    ) -> None:
        try:
            poller = await self._clients.call(call, raw=True, spend=self._clients.writes)
        except Exception as error:
            if is_gone(error):
                raise PartitionNotFound(
                    f"Machine {operation.machine} does not exist any more."
                ) from error
            raise translate(error, member.subject) from error
        await self._operations.watch(operation, poller, polling)
