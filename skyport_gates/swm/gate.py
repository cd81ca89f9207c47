"""A site whose machines the original Sky Port's cloud gate makes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from typing import Any

import asyncssh

from ..caching import Answers
from ..gate import (
    Flavor,
    GateError,
    GateUnavailable,
    Image,
    InvalidRequest,
    Node,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    SSHEndpoint,
)
from ..timing import in_time
from . import protocol
from .meanings import GateTold, meaning
from .protocol import GateUnreachable, Protocol, Shown
from .records import Record, Records
from .settings import SwmSettings

PROMPT = 3.0
"""Seconds that create() waits for the gate to refuse; it may answer after minutes."""

FIRST_CONTACT = 5.0
"""Seconds that a machine has to show its host key."""

NAME_PREFIX = "swm-"
"""The gate lists only what is called so."""

STATUS = {
    "succeeded": PartitionStatus.READY,
    "creating": PartitionStatus.CREATING,
    "updating": PartitionStatus.CREATING,
    "deleting": PartitionStatus.DELETING,
    "failed": PartitionStatus.FAILED,
}
"""What the gate's words mean; any other, null too, is a machine that is not up yet."""

MIB = {"azure": 1, "openstack": 2**20}
"""How many of the gate's units of memory and disk make a MiB."""


class SwmGate(SwmSettings):
    """Speaks the original's gate protocol.

    The gate keeps its state in each of its worker processes: it must be run with one.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._protocol: Protocol | None = None
        self._posting: dict[str, asyncio.Task[None]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._flavors: Answers[list[protocol.Flavor]] = Answers()
        self._images: Answers[list[protocol.Image]] = Answers()

    @property
    def _records(self) -> Records:
        return Records(self.context.store)

    async def start(self) -> None:
        """Check the options; the gate itself is asked when something is wanted of it."""
        if self._protocol is None:
            self.check()
            base = f"{self.url}/{self.kind}"
            self._protocol = Protocol(base, self.tls(), self.pem(), self.call_timeout - 2)

    async def close(self, *, idle: bool) -> None:
        """Stop waiting for answers; what the gate was asked for goes on."""
        posting, self._posting = list(self._posting.values()), {}
        for task in posting:
            task.cancel()
        await asyncio.gather(*posting, return_exceptions=True)
        self._protocol = None
        self._flavors.clear()
        self._images.clear()

    async def flavors(self) -> list[Flavor]:
        """The node types, in our units."""
        found = await self._flavors.get(
            "flavors", self.cache_time, lambda: self._gate.flavors(self._headers())
        )
        return [self._flavor(each) for each in found]

    def _flavor(self, told: protocol.Flavor) -> Flavor:
        unit = MIB[self.kind]
        return Flavor(
            told.name,
            cpus=told.cpus,
            memory=int(told.mem // unit),
            gpus=told.gpus,
            storage=int(told.storage // unit // 1024),
            price=told.price or None,
        )

    async def images(self) -> list[Image]:
        """The cloud images."""
        found = await self._images.get(
            "images", self.cache_time, lambda: self._gate.images(self._headers())
        )
        return [Image(name) for name in dict.fromkeys(each.name for each in found)]

    async def create(self, request: PartitionRequest) -> None:
        """Ask for a partition; the gate's own answer may come long after."""
        flavor = await self._known_flavor(request.flavor)
        async with self._lock(request.name):
            record = await self._records.get(request.name)
            if record is None:
                record = await self._records.put(
                    Record(
                        request.name,
                        flavor.name,
                        request.count,
                        request.username,
                        dict(request.tags),
                    )
                )
            if record.identity or record.deleting or request.name in self._posting:
                return
            if await self._find(record.name) is not None:
                return
            task = asyncio.create_task(self._post(record, self._creation(request)))
            self._posting[request.name] = task
            task.add_done_callback(lambda _: self._posting.pop(request.name, None))
        await asyncio.wait([task], timeout=PROMPT)
        refused = await self._records.get(request.name)
        if refused is not None and refused.error and not refused.identity:
            await self._records.forget(request.name)
            raise meaning(refused.error)

    async def _known_flavor(self, name: str) -> Flavor:
        known = {flavor.name: flavor for flavor in await self.flavors()}
        if name not in known:
            raise InvalidRequest(f"Site {self.name} has no flavor {name!r}")
        return known[name]

    def _creation(self, request: PartitionRequest) -> dict[str, str]:
        return self._headers() | {
            "osversion": request.image or self.image,
            "vmimage": request.image or self.image,
            "containerimage": self.container_image,
            "flavorname": request.flavor,
            "username": request.username,
            "count": str(request.count - 1),
            "jobid": request.tags.get("skyport-job", request.name),
            "partname": NAME_PREFIX + request.name,
            "runtime": ",".join(f"{name}={value}" for name, value in self.runtime.items()),
            "location": self.location,
            "ports": ",".join(map(str, self.ports)) or str(self.ssh_port),
        }

    async def _post(self, record: Record, headers: dict[str, str]) -> None:
        """Have it made, and remember what came of it."""
        told, identity = "", ""
        await self._note(record, posted=True, asked_at=time.time())
        try:
            answer = await self._gate.create(headers, self.create_timeout)
            identity = answer.partition.id if answer.partition else ""
            told = "".join(answer.error or "")
        except GateUnreachable as error:
            told = error.message
        except GateError as error:
            if isinstance(error.__cause__, GateTold):
                told = str(error.__cause__)
            elif isinstance(error, GateUnavailable):
                # Whether the gate began is not known: a look will tell.
                self.log.warning("Site %s: creating %s: %s", self.name, record.name, error)
            else:
                told = error.message
        if told:
            self.log.warning("Site %s: creating %s: %s", self.name, record.name, told)
        async with self._lock(record.name):
            current = await self._note(record, error=told, identity=identity)
            if current.deleting:
                await self._remove(current)
        self.context.changed(record.name)

    async def _note(self, record: Record, **changes: Any) -> Record:
        current = await self._records.get(record.name) or record
        return await self._records.put(dataclasses.replace(current, **changes))

    async def get(self, name: str) -> Partition:
        """How a partition stands; only of what this core has asked for."""
        record = await self._records.get(name)
        if record is None:
            raise self._unknown(name)
        shown = await self._find(name)
        return await (self._unseen(record) if shown is None else self._seen(record, shown))

    def _unknown(self, name: str) -> PartitionNotFound:
        return PartitionNotFound(f"Site {self.name} has no partition {name!r}")

    async def _unseen(self, record: Record) -> Partition:
        """What to say of one that the gate does not show."""
        name = record.name
        # A gate that was asked may still be at work, also when the core has died meanwhile.
        if name in self._posting or record.is_open(self.create_timeout):
            status = PartitionStatus.DELETING if record.deleting else PartitionStatus.CREATING
            return Partition(name, status, tags=record.tags)
        if record.error and not record.deleting:
            failed = PartitionStatus.FAILED
            return Partition(name, failed, error=meaning(record.error), tags=record.tags)
        await self._records.forget(name)
        raise self._unknown(name)

    async def _seen(self, record: Record, shown: Shown) -> Partition:
        status = STATUS.get(shown.status or "", PartitionStatus.CREATING)
        if record.deleting:
            status = PartitionStatus.DELETING
        error = meaning(record.error) if record.error else None
        if error is not None and status is not PartitionStatus.DELETING:
            status = PartitionStatus.FAILED
        nodes: tuple[Node, ...] = ()
        if status is PartitionStatus.READY:
            nodes = await self._nodes(record, shown)
            if not nodes:
                status = PartitionStatus.CREATING
        if status is PartitionStatus.FAILED and error is None:
            error = GateUnavailable("The cloud could not make the machine")
        return Partition(record.name, status, nodes, error, record.tags)

    async def _nodes(self, record: Record, shown: Shown) -> tuple[Node, ...]:
        """Its machines, once all of them can be trusted."""
        first = shown.master_public_ip or shown.master_private_ip
        addresses = [address for address in (first, *shown.compute_instances_ips) if address]
        if len(addresses) < record.count:
            return ()
        keys = await self._host_keys(record, addresses)
        if keys is None:
            return ()
        flavors = {flavor.name: flavor for flavor in await self.flavors()}
        flavor = flavors.get(record.flavor)
        return tuple(
            Node(
                name=NAME_PREFIX + record.name + (f"-{number}" if number else ""),
                endpoint=SSHEndpoint(
                    address,
                    self.ssh_port,
                    self.username.replace("{username}", record.username or "{username}"),
                    host_keys=keys[number],
                    host_cas=tuple(self.host_cas),
                    identity_file=self.identity_file,
                ),
                flavor=record.flavor,
                cpus=flavor.cpus if flavor else 1,
                memory=flavor.memory if flavor else 1024,
                gpus=flavor.gpus if flavor else 0,
            )
            for number, address in enumerate(addresses)
        )

    async def _host_keys(
        self, record: Record, addresses: list[str]
    ) -> list[tuple[str, ...]] | None:
        """The pinned keys of each address; None while some machine does not answer."""
        if self.host_cas:
            return [() for _ in addresses]
        known = dict(record.host_keys)
        for address in addresses:
            if address not in known:
                key = await self._first_contact(address)
                if key is None:
                    return None
                known[address] = key
        if known != dict(record.host_keys):
            await self._note(record, host_keys=known)
        return [(known[address],) for address in addresses]

    async def _first_contact(self, address: str) -> str | None:
        with contextlib.suppress(OSError, asyncssh.Error, asyncio.TimeoutError):
            asking = asyncssh.get_server_host_key(address, self.ssh_port, config=None)
            key = await in_time(asking, FIRST_CONTACT)
            if key is not None:
                return key.export_public_key().decode().strip()
        return None

    async def delete(self, name: str) -> None:
        """Ask for removal; what is just being asked for is removed when the answer is there."""
        async with self._lock(name):
            record = await self._records.get(name)
            if record is None:
                return
            if not record.deleting:
                record = await self._note(record, deleting=True)
            if name not in self._posting:
                await self._remove(record)

    async def _remove(self, record: Record) -> None:
        shown = await self._find(record.name)
        if shown is None:
            if not record.is_open(self.create_timeout):
                await self._records.forget(record.name)
        elif shown.status != "deleting":
            await self._gate.delete(shown.id, self._headers())

    async def _find(self, name: str) -> Shown | None:
        """What the gate shows of a partition."""
        called = NAME_PREFIX + name
        if self.kind == "azure":
            return await self._gate.partition(called, self._headers())
        found = await self._gate.partitions(self._headers())
        return next((each for each in found if each.name == called), None)

    def _headers(self) -> dict[str, str]:
        headers = {str(name): str(value) for name, value in self.headers.items()}
        return {"extra": f"location={self.location}", **headers}

    @property
    def _gate(self) -> Protocol:
        if self._protocol is None:
            raise GateUnavailable(f"Site {self.name} is not started")
        return self._protocol

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def list(self) -> list[Partition]:
        """All that this core has asked for: the gate itself knows no owners."""
        shown = {each.name: each for each in await self._gate.partitions(self._headers())}
        found = []
        for record in await self._records.all():
            seen = shown.get(NAME_PREFIX + record.name)
            with contextlib.suppress(PartitionNotFound):
                found.append(
                    await (self._unseen(record) if seen is None else self._seen(record, seen))
                )
        return found
