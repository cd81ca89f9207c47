"""All that a started gate holds: clients, catalog, fleet, and what acts on them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from ..gate import GateContext, PartitionNotFound
from .catalog import Catalog
from .clients import Clients
from .creation import Creation
from .errors import is_gone, translate
from .fleet import Fleet
from .keys import Keys
from .looks import Looks
from .member import Member
from .observer import Observer
from .operations import Operation, Operations
from .removal import Removal
from .settings import AzureSettings
from .sleep import Sleep

LOG_SIZE = 64 * 1024
"""Bytes of a console's output that are shown."""

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Session:
    """From start to close of a gate.

    Parameters
    ----------
    deadline
        The core's limit for a call, in seconds; calls of the SDK get less.
    """

    def __init__(
        self,
        settings: AzureSettings,
        context: GateContext,
        log: logging.Logger | logging.LoggerAdapter[Any],
        deadline: float,
    ) -> None:
        self._settings = settings
        self._context = context
        self._log = log
        # Who shares a look may have to wait for the one before, too.
        self.clients = Clients(settings, deadline * 0.4)
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self.catalog: Catalog
        self.looks: Looks
        self.fleet: Fleet
        self.keys: Keys
        self.creation: Creation
        self.removal: Removal
        self.sleep: Sleep

    async def open(self) -> None:
        """Open everything and begin to look. On an error, close() what is open."""
        settings, store, log = self._settings, self._context.store, self._log
        core_id = self._context.core_id
        self._closers.append(self.clients.close)
        await self.clients.open()
        self.keys = await Keys.load(store)
        self.catalog = Catalog(
            settings, lambda: self.clients.compute, self.clients.http, store, log
        )
        self._closers.append(self.catalog.close)
        self.looks = Looks(self.clients, settings)
        self._closers.append(self.looks.close)
        self.fleet = Fleet(
            store,
            core_id=core_id,
            changed=self._context.changed,
            note_quota=self.catalog.note_quota,
            log=log,
        )
        operations = Operations(
            self.clients,
            store,
            group=settings.resource_group,
            interval=settings.operation_interval,
            ended=self._ended,
            log=log,
        )
        self._closers.append(operations.close)
        self.sleep = Sleep(settings, self.clients, self.fleet, operations, log)
        self._closers.append(self.sleep.close)
        self._observer = Observer(
            settings,
            self.clients,
            self.looks,
            self.fleet,
            operations,
            sleep=self.sleep.begin,
            log=log,
        )
        self._closers.append(self._observer.close)
        self.removal = Removal(
            settings, self.clients, self.looks, self.fleet, operations, core_id=core_id, log=log
        )
        self._closers.append(self.removal.close)
        self.creation = Creation(
            settings,
            self.clients,
            self.catalog,
            self.fleet,
            operations,
            self.keys,
            core_id=core_id,
        )
        self._closers.append(self.creation.close)
        await self.catalog.start()
        await self.fleet.restore()
        await operations.restore()
        self._observer.start()

    async def close(self) -> None:
        """Close all, in the reverse order of opening."""
        while self._closers:
            await self._closers.pop()()

    async def find(self, name: str) -> Member:
        """A partition, looked for if it is not known. Raises PartitionNotFound."""
        member = self.fleet.get(name)
        if member is None:
            await self.fleet.adopt(await self.looks.sweep())
            member = self.fleet.get(name)
        if member is None or member.leaving:
            raise PartitionNotFound(f"Azure has no partition {name!r}.")
        return member

    async def diagnose(self, name: str) -> str:
        """The end of what a partition's machines printed on their consoles."""
        member = await self.find(name)
        if not self._settings.boot_diagnostics:
            return ""
        texts = await asyncio.gather(*(self._console(machine) for machine in member.machines))
        if len(texts) == 1:
            return texts[0]
        return "\n".join(
            f"{machine}:\n{text}" for machine, text in zip(member.machines, texts, strict=True)
        )

    async def _console(self, machine: str) -> str:
        machines: Any = self.clients.compute.virtual_machines
        group = self._settings.resource_group
        try:
            found = await self.clients.call(
                machines.retrieve_boot_diagnostics_data(group, machine), raw=True
            )
            where = found.serial_console_log_blob_uri
            return clean(await self._read(where)) if where else ""
        except Exception as error:
            if is_gone(error):
                return ""
            raise translate(error) from error

    async def _read(self, url: str) -> bytes:
        headers = {"Range": f"bytes=-{LOG_SIZE}"}
        async with self.clients.http.get(url, headers=headers) as answer:
            if answer.status in (404, 416):
                # Nothing was printed yet.
                return b""
            answer.raise_for_status()
            end = b""
            async for part in answer.content.iter_chunked(LOG_SIZE):
                end = (end + part)[-LOG_SIZE:]
            return end

    async def _ended(self, operation: Operation, error: BaseException | None) -> None:
        await self._observer.ended(operation, error)


def clean(output: bytes) -> str:
    """A console's output as text, without what steers terminals."""
    text = output.decode("utf-8", errors="replace").replace("\r\n", "\n")
    return _CONTROL.sub("", text)
