"""The gate to Azure: virtual machines on demand.

A partition is one machine (or several), made by one request each, with its disk, network interface
and address inside. Whatever is asked of the gate is answered from memory, which one look at all
machines at a time keeps true; see :mod:`.fleet` and :mod:`.observer`.
"""

from __future__ import annotations

import asyncio

from ..gate import (
    ConfigurationError,
    Flavor,
    Gate,
    GateUnavailable,
    Image,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    Quota,
    QuotaUse,
    Spot,
    Suspend,
)
from .settings import AzureSettings

try:
    from .session import Session
except ModuleNotFoundError as missing:
    if not (missing.name or "").startswith(("azure", "msal")):
        raise
    raise ConfigurationError(
        f"The packages for Azure are not installed ({missing.name} is missing).",
        hint="Install them: pip install 'skyport[azure]'",
    ) from missing


class AzureGate(AzureSettings, Gate, Suspend, Spot, Quota):
    """Virtual machines of an Azure subscription, on spot or not, made when a job needs them.

    ``skyport-core azure setup`` prepares the subscription: a resource group, a virtual network in
    each region that lets nobody in but the core, and a role for the core's identity.
    ``skyport-core azure check`` looks whether all is well.
    """

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._session: Session | None = None
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Open the clients, remember what was there, and begin to look.

        Raises GateError: the configuration cannot work, or nothing is known of Azure's sizes and
        it does not answer.
        """
        async with self._changing:
            if self._session is not None:
                return
            self.check()
            session = Session(self, self.context, self.log, self.call_timeout)
            try:
                await session.open()
            except BaseException:
                await session.close()
                raise
            self._session = session

    async def close(self, *, idle: bool) -> None:
        """Stop looking and close the clients; everything at Azure goes on."""
        async with self._changing:
            session, self._session = self._session, None
            if session is not None:
                await session.close()

    async def flavors(self) -> list[Flavor]:
        """The sizes on offer, with their regions, zones and prices."""
        return list(self._open.catalog.flavors())

    async def images(self) -> list[Image]:
        """The images on offer."""
        return self._open.catalog.images()

    async def quotas(self) -> list[QuotaUse]:
        """The subscription's limits on vCPUs and machines, and what is used of them."""
        return self._open.catalog.quotas()

    async def create(self, request: PartitionRequest) -> None:
        """Ask for a partition; see :class:`~skyport_gates.gate.Gate`."""
        session = self._open
        session.removal.note_made(request.name)
        await session.creation.ask(request)

    async def get(self, name: str) -> Partition:
        """How a partition stands, from memory; what is not known is looked for."""
        session = self._open
        member = session.fleet.get(name)
        if member is None and not session.removal.is_gone(name):
            await session.fleet.adopt(await session.looks.sweep())
            member = session.fleet.get(name)
        if member is None:
            raise PartitionNotFound(f"Azure has no partition {name!r}.")
        return member.partition(session.keys.public, self.ssh_port)

    async def list(self) -> list[Partition]:
        """All partitions of this core, and what is left of some, by one look at the group."""
        session = self._open
        present = await session.fleet.adopt(await session.looks.sweep())
        return [
            member.partition(session.keys.public, self.ssh_port)
            for member in session.fleet.members()
            if member.name in present or (member.accepted and not (member.leaving or member.error))
        ]

    async def delete(self, name: str) -> None:
        """Ask for removal of a partition; see :class:`~skyport_gates.gate.Gate`."""
        session = self._open
        # What a request on its way makes could not be deleted before it is there.
        await session.creation.settled(name)
        await session.removal.ask(name)

    async def suspend(self, name: str) -> None:
        """Deallocate a partition's machines; disks stay, and memory too with ``hibernate``."""
        await self._open.sleep.suspend(await self._open.find(name))

    async def resume(self, name: str) -> None:
        """Start a partition's machines again."""
        await self._open.sleep.resume(await self._open.find(name))

    async def diagnose(self, name: str) -> str:
        """The end of what the machines printed on their consoles; "" when that is not known."""
        return await self._open.diagnose(name)

    @property
    def _open(self) -> Session:
        if self._session is None:
            raise GateUnavailable(f"Site {self.name!r} is not started.")
        return self._session
