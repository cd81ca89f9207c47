"""Removing partitions, until a look shows that nothing of them is left."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Mapping
from typing import Any

from azure.core.exceptions import HttpResponseError

from ..gate import GateError
from .clients import ONCE, Clients
from .errors import is_gone, is_passing, translate
from .fleet import Fleet
from .looks import ADDRESS, DISK, MACHINE, NIC, Looks, Piece, Sweep, belongs, partition_of
from .member import Member
from .names import CORE, machine_names, placement_name, tag
from .operations import DELETE, Operation, Operations
from .settings import AzureSettings

LONGEST_PAUSE = 15.0
REMEMBERED = 10_000
"""Names of removed partitions that are remembered."""


class Removal:
    """Deletes machines and whatever they left behind."""

    def __init__(
        self,
        settings: AzureSettings,
        clients: Clients,
        looks: Looks,
        fleet: Fleet,
        operations: Operations,
        *,
        core_id: str,
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._looks = looks
        self._fleet = fleet
        self._operations = operations
        self._core_id = core_id
        self._log = log
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._trouble: dict[str, GateError] = {}
        self._gone: dict[str, None] = {}

    def is_gone(self, name: str) -> bool:
        """Whether a look has shown that nothing of a partition is left."""
        return name in self._gone

    def note_gone(self, name: str) -> None:
        """A look has shown that nothing of a partition is left."""
        self._gone[name] = None
        while len(self._gone) > REMEMBERED:
            del self._gone[next(iter(self._gone))]

    def note_made(self, name: str) -> None:
        """A partition is about to be made."""
        self._gone.pop(name, None)

    async def ask(self, name: str) -> None:
        """Remove a partition; return once Azure has accepted that.

        Does nothing for one whose removal is under way. Raises GateError.
        """
        if name in self._tasks:
            if (trouble := self._trouble.get(name)) is not None:
                raise trouble
            return
        member = self._fleet.get(name)
        if member is None:
            if name in self._gone:
                return
            member = await self._find(name)
        if member is None:
            self.note_gone(name)
            return
        if name not in self._tasks:
            await self._begin(member)

    async def close(self) -> None:
        """Stop; the core asks again after its next start."""
        tasks = list(self._tasks.values())
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _find(self, name: str) -> Member | None:
        """A partition that is not known, by a look at all that there is."""
        sweep = await self._looks.sweep()
        await self._fleet.adopt(sweep)
        member = self._fleet.get(name)
        if member is None:
            machines = _by_name(name, sweep, self._fleet.owners)
            if machines:
                member = Member(name, machines)
                await self._fleet.add(member)
        return member

    async def _begin(self, member: Member) -> None:
        if not member.leaving:
            member.leaving = True
            await self._fleet.keep(member)
        begun = [self._delete_machine(member, machine) for machine in member.machines]
        results = await asyncio.gather(*begun, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        if member.name not in self._tasks:
            # Where there was no machine, nothing takes its disk and interface along.
            had = any(results)
            task = asyncio.create_task(self._finish(member, had), name=f"azure gone {member.name}")
            self._tasks[member.name] = task
            task.add_done_callback(lambda _: self._forget(member.name, task))

    def _forget(self, name: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(name) is task:
            del self._tasks[name]
            self._trouble.pop(name, None)

    async def _delete_machine(self, member: Member, machine: str) -> bool:
        """Ask for the removal of one machine; whether it was there."""
        under_way = self._operations.of(machine)
        if under_way is not None:
            if under_way.kind == DELETE:
                return True
            await self._operations.forget(machine)
        machines: Any = self._clients.compute.virtual_machines
        polling = self._operations.polling(DELETE)
        call = machines.begin_delete(
            self._settings.resource_group, machine, force_deletion=True, polling=polling, **ONCE
        )
        try:
            poller = await self._clients.call(call, raw=True, spend=self._clients.deletes)
        except Exception as error:
            return self._refused(error, member)
        if polling.finished():
            return False
        await self._operations.watch(Operation(DELETE, machine, member.name), poller, polling)
        return True

    def _refused(self, error: Exception, member: Member) -> bool:
        if is_gone(error):
            return False
        words = translate(error, member.subject)
        if isinstance(error, HttpResponseError) and error.status_code == 409 and is_passing(words):
            # It is being deleted already, or something else is being done to it.
            return True
        raise words from error

    async def _finish(self, member: Member, had: bool) -> None:
        """Look until nothing is left, and remove what Azure does not remove by itself."""
        pause, patience = self._settings.operation_interval, 1 if had else 0
        while True:
            waits = [self._operations.wait(machine, pause) for machine in member.machines]
            over = all(await asyncio.gather(*waits))
            try:
                rest = self._rest(member, await self._looks.sweep())
                if not rest:
                    await self._end(member)
                    return
                machines = [piece for piece in rest if piece.kind == MACHINE]
                if not over:
                    if not machines or any(_stands(piece) for piece in machines):
                        self._look_now(member)
                elif patience > 0 and not any(_stands(piece) for piece in rest):
                    patience -= 1
                else:
                    await self._delete_rest(member, rest)
                self._trouble.pop(member.name, None)
            except GateError as error:
                told = self._trouble.get(member.name)
                if told is None or told.message != error.message:
                    self._log.warning("Partition %s stays for now: %s", member.name, error)
                self._trouble[member.name] = error
            except Exception as error:
                self._trouble[member.name] = translate(error)
                self._log.exception("Removing partition %s failed", member.name)
            await asyncio.sleep(pause if over else 0)
            pause = min(pause * 1.5, LONGEST_PAUSE)

    async def _end(self, member: Member) -> None:
        """Forget a partition of which nothing is left."""
        for machine in member.machines:
            await self._operations.forget(machine)
        await self._remove_placement(member)
        self.note_gone(member.name)
        await self._fleet.drop(member)
        self._fleet.note_quota(member.region)

    def _look_now(self, member: Member) -> None:
        """What Azure lists does not look like a removal under way: ask how that stands."""
        for machine in member.machines:
            self._operations.look_now(machine)

    def _rest(self, member: Member, sweep: Sweep) -> list[Piece]:
        own = {machine.lower(): machine for machine in member.machines}
        return [
            piece
            for piece in sweep.pieces
            if piece.kind in _ORDER and self._is_of(piece, member, own)
        ]

    def _is_of(self, piece: Piece, member: Member, own: Mapping[str, str]) -> bool:
        core = tag(piece.tags, CORE)
        if core and core != self._core_id:
            return False
        return partition_of(piece) == member.name or belongs(piece, own) is not None

    async def _delete_rest(self, member: Member, rest: list[Piece]) -> None:
        machines = [piece.name for piece in rest if piece.kind == MACHINE]
        for machine in machines:
            self._log.warning("Machine %s is still there; deleting it again", machine)
            await self._delete_machine(member, machine)
        if not machines:
            await self._delete_strays(rest)

    async def _delete_strays(self, rest: list[Piece]) -> None:
        compute, network = self._clients.compute, self._clients.network
        begin: Mapping[str, Any] = {
            NIC: network.network_interfaces.begin_delete,
            ADDRESS: network.public_ip_addresses.begin_delete,
            DISK: compute.disks.begin_delete,
        }
        group, first = self._settings.resource_group, None
        for piece in sorted(rest, key=lambda piece: _ORDER.index(piece.kind)):
            self._log.info("Removing %s %s, left behind", piece.kind, piece.name)
            try:
                await self._once(begin[piece.kind](group, piece.name, polling=False, **ONCE))
            except GateError as error:
                # An address cannot go before its interface has; the next turn will do it.
                first = first or error
        if first is not None:
            raise first

    async def _remove_placement(self, member: Member) -> None:
        if not self._settings.placement_group or len(member.machines) < 2:
            return
        groups: Any = self._clients.compute.proximity_placement_groups
        name = placement_name(member.name)
        try:
            await self._once(groups.delete(self._settings.resource_group, name, **ONCE))
        except GateError as error:
            # It costs nothing, and stands in nobody's way.
            self._log.warning("Placement group %s stays: %s", name, error)

    async def _once(self, call: Awaitable[Any]) -> None:
        try:
            await self._clients.call(call, raw=True, spend=self._clients.deletes)
        except Exception as error:
            if not is_gone(error):
                raise translate(error) from error


_ORDER = (MACHINE, NIC, ADDRESS, DISK)
"""The order in which they can be removed."""


def _stands(piece: Piece) -> bool:
    """Whether it is a machine that does not even look as if it was being deleted."""
    state = (piece.body.get("properties") or {}).get("provisioningState", "")
    return piece.kind == MACHINE and str(state).lower() != "deleting"


def _by_name(name: str, sweep: Sweep, known: Mapping[str, str]) -> tuple[str, ...]:
    """The machines whose pieces, without tags of any core, bear a partition's name."""
    base = machine_names(name, 1)[0]
    form = re.compile(rf"({re.escape(base)}(?:-\d+)?)-(?:nic|os|ip)(?:[-_].*)?", re.IGNORECASE)
    found = set()
    for piece in sweep.pieces:
        match = form.fullmatch(piece.name)
        free = piece.kind != MACHINE and not tag(piece.tags, CORE)
        if match is not None and free and belongs(piece, known) is None:
            found.add(match.group(1))
    return tuple(sorted(found))
