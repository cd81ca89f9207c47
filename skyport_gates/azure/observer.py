"""Keeps the fleet true: by one look at all machines at a time, and by the ends of operations.

Nothing is asked for a single machine, except to find out what became of one that failed or that
is not there any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..gate import GateError, Preempted, Throttled
from ..timing import in_time
from .clients import Clients, wire
from .errors import has_code, is_gone, translate, translate_fault
from .fleet import Fleet
from .looks import ADDRESS, NIC, Looks, State, belongs, state
from .meanings import Fault
from .member import Member, Phase
from .operations import CREATE, HIBERNATE, RESUME, SUSPEND, Operation, Operations
from .settings import AzureSettings

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
"""Seconds between two looks for addresses that do not come: they grow from one to the other."""


class Observer:
    """Looks while there is something to look for.

    Parameters
    ----------
    sleep
        Called with a partition that is to be put to sleep (again): it switched itself off, or
        only some of its machines woke.
    """

    def __init__(
        self,
        settings: AzureSettings,
        clients: Clients,
        looks: Looks,
        fleet: Fleet,
        operations: Operations,
        *,
        sleep: Callable[[Member], None],
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._looks = looks
        self._fleet = fleet
        self._operations = operations
        self._sleep = sleep
        self._log = log
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to look."""
        self._tasks = [
            asyncio.create_task(self._watch(), name="azure fleet"),
            asyncio.create_task(self._find_addresses(), name="azure addresses"),
        ]

    async def close(self) -> None:
        """Stop looking."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- addresses -------------------------------------------------------------------------------

    async def _find_addresses(self) -> None:
        lacking = self._fleet.lacking
        first = min(FIRST_PAUSE, self._settings.operation_interval)
        while True:
            await lacking.wait()
            pause = first
            while any(member.lacks_address for member in self._fleet.members()):
                lacking.clear()
                await asyncio.sleep(min(pause, first))
                with contextlib.suppress(asyncio.TimeoutError):
                    # Somebody new is not kept waiting by those for whom it takes long.
                    await in_time(lacking.wait(), max(0.0, pause - first))
                    pause = first
                try:
                    await self._read_addresses()
                except GateError as error:
                    self._log.warning("The machines' addresses cannot be read now: %s", error)
                except Exception:
                    self._log.exception("Reading the machines' addresses failed")
                pause = min(pause * 1.5, LONGEST_PAUSE)
            lacking.clear()

    async def _read_addresses(self) -> None:
        wanted = ADDRESS if self._settings.public_ip else NIC
        # A public address is named after its machine; an interface tells it.
        found = {
            owner: piece.address
            for piece in await self._looks.interfaces()
            if piece.kind == wanted and piece.address
            if (owner := belongs(piece, self._fleet.owners)) is not None
        }
        for member in [each for each in self._fleet.members() if each.lacks_address]:
            fresh = {
                machine: found[machine]
                for machine in member.accepted
                if machine in found and machine not in member.addresses
            }
            if fresh:
                member.addresses.update(fresh)
                await self._fleet.keep(member)

    # -- looks -----------------------------------------------------------------------------------

    async def _watch(self) -> None:
        pause = 0.0
        while True:
            while not self._busy():
                self._fleet.watch.clear()
                await self._fleet.watch.wait()
                pause = self._settings.fleet_interval
            await asyncio.sleep(pause)
            pause = self._settings.fleet_interval
            try:
                if self._busy():
                    await self._look()
            except Throttled as error:
                self._log.warning("Azure asks to look less often at the machines")
                pause = max(pause, error.retry_after)
            except GateError as error:
                self._log.warning("The machines cannot be looked at now: %s", error)
            except Exception:
                self._log.exception("A look at the machines failed")

    def _busy(self) -> bool:
        return any(member.watched for member in self._fleet.members())

    async def _look(self) -> None:
        began, states = await self._looks.states()
        for member in self._fleet.members():
            if member.leaving or member.failed or member.asking or began <= member.moved:
                continue
            try:
                await self._observe(member, states)
            except Throttled:
                raise
            except GateError as error:
                self._log.warning("Partition %s cannot be looked at now: %s", member.name, error)

    async def _observe(self, member: Member, states: Mapping[str, State]) -> None:
        powers: dict[str, str] = {}
        for machine in member.machines:
            found = states.get(machine.lower())
            if found is None and machine in member.accepted:
                # Lists lag behind, so what is missing there may stand nevertheless.
                found = await self.examine(member, machine)
            if found is None:
                continue
            powers[machine] = found.power
            await self._fleet.accept(member, machine)
            await self._hurry(machine, found)
            if found.provisioning == "succeeded":
                member.made.add(machine)
            # What is "failed" later is only the last thing that was done to it.
            elif found.provisioning == "failed" and not (
                member.failed or machine in member.made or self._operations.of(machine)
            ):
                await self.examine(member, machine)
        if powers and not member.failed:
            await self._observe_power(member, powers)

    async def _hurry(self, machine: str, found: State) -> None:
        """End the watch of an operation that this look shows to be over, or have it looked at."""
        operation = self._operations.of(machine)
        if operation is None:
            return
        if operation.kind == CREATE and found.provisioning == "succeeded":
            await self._operations.forget(machine)
        elif found.provisioning in ("succeeded", "failed"):
            self._operations.look_now(machine)

    async def _observe_power(self, member: Member, powers: Mapping[str, str]) -> None:
        under_way = {op.kind for name in powers if (op := self._operations.of(name)) is not None}
        if member.phase is Phase.AWAKE:
            # Until its creation ends, a machine's power only counts once it could be used.
            if not under_way or (under_way == {CREATE} and not member.lacks_address):
                await self._observe_awake(member, powers)
            return
        if under_way:
            return
        if set(powers.values()) == {"running"}:
            await self._fleet.move(member, Phase.AWAKE)
        elif set(powers.values()) == {"deallocated"}:
            if member.phase is not Phase.ASLEEP:
                await self._fleet.move(member, Phase.ASLEEP, member.error)
        elif member.phase is Phase.FALLING:
            self._sleep(member)

    async def _observe_awake(self, member: Member, powers: Mapping[str, str]) -> None:
        for machine, power in powers.items():
            if power in ("deallocating", "deallocated"):
                await self._switched_off(member, machine)
                return
            if power in ("stopping", "stopped"):
                await self._stopped_itself(member, machine)
                return

    async def _switched_off(self, member: Member, machine: str) -> None:
        """A machine is not on its host any more, and not because the core wanted it."""
        if member.spot and member.suspendable:
            await self._fleet.move(member, Phase.ASLEEP, preempted(member))
        elif member.spot:
            await self._fleet.fail(member, preempted(member))
        elif member.suspendable:
            await self._fleet.move(member, Phase.ASLEEP)
        else:
            words = f"Machine {machine} was switched off by somebody else."
            await self._fleet.fail(member, GateError(words, hint=_ELSE))

    async def _stopped_itself(self, member: Member, machine: str) -> None:
        if member.suspendable:
            # It is billed until it is taken from its host.
            self._sleep(member)
            return
        hint = (
            "It was shut down from inside: by a program there, or because no core had logged in "
            "to it for the time that c.AzureGate.lease allows."
        )
        await self._fleet.fail(member, GateError(f"Machine {machine} stopped itself.", hint=hint))

    async def examine(self, member: Member, machine: str) -> State | None:
        """Ask for one machine: what it failed with, or whether it is there at all (None: no)."""
        machines = self._clients.compute.virtual_machines
        where = (self._settings.resource_group, machine)
        try:
            found = await self._clients.call(machines.get(*where, expand="instanceView"), raw=True)
        except Exception as error:
            if not is_gone(error):
                raise translate(error, member.subject) from error
            await self._lost(member, machine)
            return None
        seen = state(wire(found))
        settled = member.leaving or member.failed or machine in member.made
        if seen.provisioning == "failed" and not settled:
            fault = Fault(seen.code, seen.message or "its creation failed")
            await self._fleet.fail(member, translate_fault(fault, member.subject))
        return seen

    async def _lost(self, member: Member, machine: str) -> None:
        if member.leaving or member.failed:
            return
        words = f"Machine {machine} was deleted by somebody else."
        error = preempted(member) if member.spot else GateError(words, hint=_ELSE)
        await self._fleet.move(member, Phase.AWAKE, error)

    # -- ends of operations ----------------------------------------------------------------------

    async def ended(self, operation: Operation, error: BaseException | None) -> None:
        """An operation is over; ``error`` is what it failed with."""
        member = self._fleet.get(operation.partition)
        if member is None or member.leaving:
            return
        if operation.kind == CREATE:
            await self._created(member, operation.machine, error)
        elif operation.kind in (SUSPEND, HIBERNATE):
            await self._suspended(member, operation, error)
        elif operation.kind == RESUME:
            await self._resumed(member, error)

    async def _created(self, member: Member, machine: str, error: BaseException | None) -> None:
        if error is None:
            member.made.add(machine)
        elif member.failed or member.phase is not Phase.AWAKE:
            return
        elif is_gone(error) or has_code(error, "OperationPreempted"):
            # Something else happened to it meanwhile; a look tells what.
            await self.examine(member, machine)
        else:
            await self._fleet.fail(member, translate(error, member.subject))

    async def _suspended(
        self, member: Member, operation: Operation, error: BaseException | None
    ) -> None:
        if error is not None:
            words = translate(error, member.subject)
            self._log.warning("Partition %s cannot sleep: %s", member.name, words, exc_info=error)
            if operation.kind == HIBERNATE:
                member.hibernates = False
                self._sleep(member)
            elif member.phase is Phase.FALLING:
                await self._fleet.move(member, Phase.AWAKE)
        elif member.phase is Phase.FALLING and self._idle(member):
            await self._fleet.move(member, Phase.ASLEEP, member.error)

    async def _resumed(self, member: Member, error: BaseException | None) -> None:
        if error is not None:
            member.error = translate(error, member.subject)
            self._log.warning("Partition %s cannot wake: %s", member.name, member.error)
        if member.phase is not Phase.WAKING or not self._idle(member):
            return
        if member.error is None:
            await self._fleet.move(member, Phase.AWAKE)
        elif len(member.machines) == 1:
            await self._fleet.move(member, Phase.ASLEEP, member.error)
        else:
            # Those that did wake would be paid for in vain.
            await self._fleet.move(member, Phase.FALLING, member.error)
            self._sleep(member)

    def _idle(self, member: Member) -> bool:
        return all(self._operations.of(machine) is None for machine in member.machines)


_ELSE = "Whoever looks after the subscription knows more."


def preempted(member: Member) -> Preempted:
    """What is said of a spot machine that Azure took back."""
    return Preempted(
        f"Azure took the {member.subject} back.",
        hint="That is the price of spot machines; ask for one that is not spot to be sure.",
    )
