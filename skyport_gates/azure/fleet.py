"""What the gate knows of all its partitions, in memory and in the core's database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..gate import GateError, GateStore, QuotaExceeded
from .looks import MACHINE, Sweep, belongs, partition_of
from .member import PREFIX, Member, Phase
from .names import CORE, tag


class Fleet:
    """The partitions of one core.

    Parameters
    ----------
    core_id
        Only what carries this core's tag is taken for its own.
    changed
        Called with the name of a partition that stands otherwise than before.
    note_quota
        Called with a region where less, or more than was thought, of a limit is used.

    Attributes
    ----------
    watch
        Set when there may be something new to watch.
    lacking
        Set when an address may be missing that was not missing before.
    """

    def __init__(
        self,
        store: GateStore,
        *,
        core_id: str,
        changed: Callable[[str], None],
        note_quota: Callable[[str], None],
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._store = store
        self._core_id = core_id
        self._changed = changed
        self.note_quota = note_quota
        self._log = log
        self._members: dict[str, Member] = {}
        self._owners: dict[str, str] = {}
        self.watch = asyncio.Event()
        self.lacking = asyncio.Event()

    async def restore(self) -> None:
        """Remember what was there when the core ended."""
        for key, text in (await self._store.items(PREFIX)).items():
            try:
                self._know(Member.from_text(text))
            except ValueError:
                self._log.warning("Forgetting %s, which cannot be read", key)
                await self._store.put(key, None)
        self._look_soon()

    def get(self, name: str) -> Member | None:
        """A partition that is known."""
        return self._members.get(name)

    def members(self) -> list[Member]:
        """All partitions that are known."""
        return list(self._members.values())

    @property
    def owners(self) -> Mapping[str, str]:
        """Names of all known machines, by their lower case."""
        return self._owners

    async def add(self, member: Member) -> None:
        """Remember a partition, before anything of it is made."""
        self._know(member)
        await self.keep(member)

    async def keep(self, member: Member) -> None:
        """Write down how a partition stands, and tell the core."""
        if self._members.get(member.name) is member:
            await self._store.put(PREFIX + member.name, member.to_text())
        self._changed(member.name)
        self.watch.set()

    async def move(self, member: Member, phase: Phase, error: GateError | None = None) -> None:
        """Put a partition in a phase; looks that began before do not count any more."""
        member.phase, member.error = phase, error
        member.moved = asyncio.get_running_loop().time()
        if phase is not Phase.AWAKE:
            member.addresses.clear()
        await self.keep(member)
        self._look_soon()
        if phase is Phase.ASLEEP or isinstance(error, QuotaExceeded):
            self.note_quota(member.region)

    async def accept(self, member: Member, machine: str) -> None:
        """Azure has this machine."""
        if machine not in member.accepted:
            member.accepted.add(machine)
            member.moved = asyncio.get_running_loop().time()
            await self.keep(member)
            self._look_soon()

    async def drop(self, member: Member) -> None:
        """Forget a partition of which nothing is left."""
        # First, so that it can be tried again.
        await self._store.put(PREFIX + member.name, None)
        self._members.pop(member.name, None)
        for machine in member.machines:
            self._owners.pop(machine.lower(), None)
        self._changed(member.name)

    async def fail(self, member: Member, error: GateError) -> None:
        """Something went wrong with a partition for good."""
        self._log.warning("Partition %s: %s", member.name, error, exc_info=error.__cause__)
        member.error = error
        await self.keep(member)
        if isinstance(error, QuotaExceeded):
            self.note_quota(member.region)

    async def adopt(self, sweep: Sweep) -> set[str]:
        """Take over what carries this core's tag; the names of the partitions in the sweep."""
        present: set[str] = set()
        # Machines first: they tell the most of a partition.
        for piece in sorted(sweep.pieces, key=lambda piece: piece.kind != MACHINE):
            owner = self._owner(piece.tags, partition_of(piece), belongs(piece, self._owners))
            if owner is None:
                continue
            present.add(owner)
            member = self._members.get(owner)
            if member is None:
                member = Member.from_piece(piece)
                self._know(member)
                await self._store.put(PREFIX + owner, member.to_text())
            if piece.kind == MACHINE:
                await self._adopt_machine(member, piece.name)
        return present

    def _owner(self, tags: Any, tagged: str, machine: str | None) -> str | None:
        """The partition that a piece belongs to, by its tags or else by its name."""
        if core := tag(tags, CORE):
            return tagged if core == self._core_id and tagged else None
        return next(
            (each.name for each in self._members.values() if machine in each.machines), None
        )

    async def _adopt_machine(self, member: Member, name: str) -> None:
        known = self._owners.get(name.lower())
        if known is None:
            # Its partition was known by less than all of its machines.
            member.machines = tuple(sorted({*member.machines, name}))
            self._owners[name.lower()] = known = name
        await self.accept(member, known)

    def _know(self, member: Member) -> None:
        self._members[member.name] = member
        self._owners.update({machine.lower(): machine for machine in member.machines})

    def _look_soon(self) -> None:
        self.watch.set()
        if any(member.lacks_address for member in self._members.values()):
            self.lacking.set()
