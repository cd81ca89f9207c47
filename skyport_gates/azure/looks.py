"""Looks at all that the resource group holds, shared by everybody who wants to know."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from ..gate import GateUnavailable
from .clients import Clients, wire
from .names import last, owner_of, tag
from .settings import AzureSettings

T = TypeVar("T")

MACHINE, NIC, ADDRESS, DISK, PLACEMENT = "machine", "nic", "address", "disk", "placement"


class Shared(Generic[T]):
    """One look for many askers; each gets the result of one that began after it asked.

    Between the beginnings of two looks lie ``pause`` seconds at least.
    """

    def __init__(self, look: Callable[[], Awaitable[T]], pause: float) -> None:
        self._look = look
        self._pause = pause
        self._began = float("-inf")
        self._running: asyncio.Task[T] | None = None
        self._next: asyncio.Task[T] | None = None

    async def __call__(self) -> T:
        """The result of a look; raises what it raises, and GateUnavailable once closed."""
        if self._next is None:
            self._next = asyncio.create_task(self._after(self._running))
            self._next.add_done_callback(_heard)
        task = self._next
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise GateUnavailable("The gate is closed.") from None
            raise

    async def close(self) -> None:
        """Cancel the look that runs."""
        tasks = [task for task in (self._running, self._next) if task is not None]
        self._running = self._next = None
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _after(self, before: asyncio.Task[T] | None) -> T:
        if before is not None:
            await asyncio.wait([before])
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(max(0.0, self._began + self._pause - clock()))
        self._running, self._next = self._next, None
        self._began = clock()
        return await self._look()


def _heard(task: asyncio.Task[Any]) -> None:
    """Who asked may be gone; then nobody else takes the exception."""
    if not task.cancelled():
        task.exception()


@dataclass(frozen=True)
class Piece:
    """One resource of the group.

    ``machine`` is the name of the machine that it is attached to, "" if to none or not known.
    ``address`` is that of a network interface or a public address, "" while it has none.
    """

    kind: str
    name: str
    tags: Mapping[str, str]
    machine: str = ""
    address: str = ""
    body: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Sweep:
    """All of the group's pieces, as listed by one look."""

    pieces: tuple[Piece, ...]

    def machines(self) -> Iterator[Piece]:
        """The machines alone."""
        return (piece for piece in self.pieces if piece.kind == MACHINE)


@dataclass(frozen=True)
class State:
    """How a machine stands: Azure's words in lower case, "" where it has none."""

    provisioning: str = ""
    power: str = ""
    code: str = ""
    message: str = ""


class Looks:
    """Asks Azure for lists.

    ``sweep`` gives all pieces, ``interfaces`` the network interfaces and public addresses,
    ``states`` how each machine of the group stands, by its name in lower case, and when that
    look began.
    """

    def __init__(self, clients: Clients, settings: AzureSettings) -> None:
        self._clients = clients
        self._settings = settings
        self._group = settings.resource_group
        pause = settings.operation_interval / 2
        self.sweep = Shared(self._sweep, pause)
        self.interfaces = Shared(self._interfaces, pause)
        self.states = Shared(self._states, pause)

    async def close(self) -> None:
        """Cancel what runs."""
        await asyncio.gather(self.sweep.close(), self.interfaces.close(), self.states.close())

    async def _sweep(self) -> Sweep:
        compute, group = self._clients.compute, self._group
        lists = [
            self._list(MACHINE, compute.virtual_machines.list(group)),
            self._list(DISK, compute.disks.list_by_resource_group(group)),
            self._list(NIC, self._clients.network.network_interfaces.list(group)),
            self._list(ADDRESS, self._clients.network.public_ip_addresses.list(group)),
        ]
        if self._settings.placement_group:
            groups = compute.proximity_placement_groups.list_by_resource_group(group)
            lists.append(self._list(PLACEMENT, groups))
        found = await _all(lists)
        return Sweep(tuple(piece for pieces in found for piece in pieces))

    async def _interfaces(self) -> list[Piece]:
        network, group = self._clients.network, self._group
        lists = [self._list(NIC, network.network_interfaces.list(group))]
        if self._settings.public_ip:
            lists.append(self._list(ADDRESS, network.public_ip_addresses.list(group)))
        return [piece for pieces in await _all(lists) for piece in pieces]

    async def _states(self) -> tuple[float, dict[str, State]]:
        began = asyncio.get_running_loop().time()
        listed = await self._clients.all(
            self._clients.compute.virtual_machines.list_all(status_only="true")
        )
        mark = f"/resourcegroups/{self._group.lower()}/"
        bodies = (wire(item) for item in listed)
        return began, {
            str(body.get("name", "")).lower(): state(body)
            for body in bodies
            if mark in str(body.get("id", "")).lower()
        }

    async def _list(self, kind: str, pages: Any) -> list[Piece]:
        return [piece(kind, wire(item)) for item in await self._clients.all(pages)]


async def _all(lists: list[Any]) -> list[Any]:
    """The results; when one fails the others are not left running."""
    tasks = [asyncio.ensure_future(each) for each in lists]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def piece(kind: str, body: Mapping[str, Any]) -> Piece:
    """A resource as Azure lists it."""
    properties = body.get("properties") or {}
    owner = (properties.get("virtualMachine") or {}).get("id") or body.get("managedBy") or ""
    address = ""
    if kind == ADDRESS:
        address = properties.get("ipAddress") or ""
    elif kind == NIC:
        settings = properties.get("ipConfigurations") or []
        addresses = ((each.get("properties") or {}).get("privateIPAddress") for each in settings)
        address = next((found for found in addresses if found), "")
    tags = {str(key): str(value) for key, value in (body.get("tags") or {}).items()}
    return Piece(kind, str(body.get("name", "")), tags, last(str(owner)), str(address), body)


def belongs(piece: Piece, machines: Mapping[str, str]) -> str | None:
    """The machine, of these (by their lower case), that a piece belongs to."""
    if piece.kind == MACHINE:
        return machines.get(piece.name.lower())
    return machines.get(piece.machine.lower()) or owner_of(piece.name, machines)


def state(body: Mapping[str, Any]) -> State:
    """How a machine stands, from its body with an instance view."""
    properties = body.get("properties") or {}
    view = properties.get("instanceView") or {}
    provisioning, power, code, message = str(properties.get("provisioningState") or ""), "", "", ""
    for status in view.get("statuses") or []:
        kind, _, rest = str(status.get("code", "")).partition("/")
        if kind.lower() == "powerstate":
            power = rest
        elif kind.lower() == "provisioningstate":
            found, _, code = rest.partition("/")
            provisioning = provisioning or found
            message = str(status.get("message") or "")
    return State(provisioning.lower(), power.lower(), code, message)


def partition_of(piece: Piece) -> str:
    """The partition that a piece's tags name; "" if they name none."""
    return tag(piece.tags, "skyport-partition")
