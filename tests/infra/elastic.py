"""A real elastic site on this machine: each partition is an SSH server process of its own.

It has regions, spot nodes, quotas and sleep, if so configured. The site's state stands in files of
the gate's folder, so it outlives the core, and faults are put there as files too (:func:`inject`),
so a test steers the gate of a core in another process.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import psutil
from traitlets import Bool, Dict, Float, Int

from skyport_gates.gate import (
    Flavor,
    Gate,
    GateUnavailable,
    InvalidRequest,
    Node,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    Quota,
    QuotaUse,
    Spot,
    SSHEndpoint,
    Suspend,
    Terms,
)
from skyport_gates.local_files import write_private
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from tests.infra.elastic_faults import Fault, clear_faults, inject, make_error, take_fault

__all__ = ["ElasticTestGate", "Fault", "clear_faults", "inject", "preempt", "records"]

NODE_LIFE = 900.0
"""Seconds after which a node that nobody uses ends by itself, should a test forget it."""


@dataclass(frozen=True)
class _Record:
    """One partition in its file. Times are seconds since the epoch."""

    name: str
    flavor: str
    count: int
    user_ca: str
    core_id: str
    status: str
    ready_at: float
    tags: dict[str, str] = field(default_factory=dict)
    gone_at: float = 0.0
    error: tuple[str, str, float | None] | None = None
    endpoints: tuple[tuple[int, str], ...] = ()
    region: str = ""
    zone: str = ""
    spot: bool = False
    suspendable: bool = False
    slept: bool = False
    asleep_at: float = 0.0
    evicted_at: float = 0.0


_PREEMPTED = ("Preempted", "The site took the node back on request of the test", None)


def records(home: Path) -> list[_Record]:
    """What exists at the site whose gate has the folder ``home``."""
    found = (_record(path) for path in sorted((home / "partitions").glob("*.json")))
    return [record for record in found if record is not None]


async def preempt(home: Path, name: str, notice: float | None = None) -> None:
    """Take a partition back: in ``notice`` seconds, of which its nodes hear, or now."""
    path = home / "partitions" / f"{quote(name, safe='')}.json"
    record = _record(path)
    assert record is not None, f"there is no partition {name}"
    end = time.time() + (notice or 0.0)
    write_private(path, json.dumps(asdict(replace(record, evicted_at=end))))
    folder = home / "nodes" / quote(name, safe="")
    if notice is None:
        for number in range(record.count):
            await _server_of(home, record, number).stop()
        await asyncio.to_thread(_kill_inside, folder.absolute())
        return
    line = f"notice preempt {math.ceil(end)}\n".encode()
    for login in folder.glob("node*/homes/*/.skyport"):
        write_private(login / "notice", line.decode())
        for fifo in login.glob("watch/*"):
            descriptor = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
            os.write(descriptor, line)
            os.close(descriptor)


class ElasticTestGate(Gate, Suspend, Spot, Quota):
    """Makes partitions of loopback nodes."""

    sizes = Dict(
        default_value={"small": (1.0, 1024, 0.05), "large": (4.0, 8192, 0.2)},
        help="Flavors: name to (cpus, memory in MiB, USD/hour).",
    ).tag(config=True)
    delay = Float(0.1, min=0, help="Seconds from create() to READY.").tag(config=True)
    delete_delay = Float(0.05, min=0, help="Seconds from delete() to gone.").tag(config=True)
    suspend_delay = Float(0.05, min=0, help="Seconds from suspend() to SUSPENDED.").tag(config=True)
    regions = Dict(help="Regions: name to a list of zones; empty: no regions.").tag(config=True)
    offer_spot = Bool(False, help="Offer spot nodes too, at a third of the price.").tag(config=True)
    quota = Int(100, help="Partitions that the account may have.").tag(config=True)
    tells = Bool(True, help="Tell the core of changes instead of being asked.").tag(config=True)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._locks: dict[str, asyncio.Lock] = {}
        self._teller: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to tell of changes."""
        if self.tells and self._teller is None:
            self._teller = asyncio.create_task(self._tell())

    async def close(self, *, idle: bool) -> None:
        """Stop telling."""
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)

    async def _tell(self) -> None:
        known: dict[str, str] = {}
        while True:
            seen = {name: await self._settled(name) for name in self._known()}
            now = {name: part.status.value for name, part in seen.items() if part is not None}
            for name in sorted({name for name, _ in known.items() ^ now.items()}):
                self.context.changed(name)
            known = now
            await asyncio.sleep(0.05)

    async def flavors(self) -> list[Flavor]:
        """The configured sizes."""
        return [
            Flavor(
                name, cpus, memory, price=price, terms=tuple(self._terms(price)), suspendable=True
            )
            for name, (cpus, memory, price) in self.sizes.items()
        ]

    def _terms(self, price: float) -> Iterator[Terms]:
        if not self.regions and not self.offer_spot:
            return
        for region, zones in (self.regions or {"": []}).items():
            yield Terms(region, tuple(zones), price=price)
            if self.offer_spot:
                yield Terms(region, tuple(zones), spot=True, price=price / 3)

    async def quotas(self) -> list[QuotaUse]:
        """How many partitions there are, and may be."""
        used = float(len(list(self._known(every_core=True))))
        return [QuotaUse("partitions", "Partitions", "", used, float(self.quota))]

    async def diagnose(self, name: str) -> str:
        """What the test has put into ``console.txt`` of the gate's folder."""
        path = self.context.home / "console.txt"
        return path.read_text() if path.exists() else ""

    async def create(self, request: PartitionRequest) -> None:
        """Accept a partition; it becomes READY ``delay`` seconds later."""
        if request.flavor not in self.sizes:
            raise InvalidRequest(f"There is no flavor {request.flavor!r}.")
        if self.regions and request.region not in self.regions:
            raise InvalidRequest(f"There is no region {request.region!r}.")
        effect = await self._before("create", request.flavor, request.region)
        async with self._lock(request.name):
            if self._read(request.name) is None:
                self._write(
                    _Record(
                        name=request.name,
                        flavor=request.flavor,
                        count=request.count,
                        user_ca=request.user_ca,
                        core_id=self.context.core_id,
                        status=PartitionStatus.CREATING.value,
                        ready_at=time.time() + self.delay,
                        tags=dict(request.tags),
                        region=request.region,
                        zone=request.zone,
                        spot=request.spot,
                        suspendable=request.suspendable,
                    )
                )
        await _after(effect)

    async def get(self, name: str) -> Partition:
        """How a partition stands now."""
        effect = await self._before("get")
        partition = await self._settled(name)
        await _after(effect)
        if partition is None:
            raise PartitionNotFound(f"There is no partition {name!r}.")
        return partition

    async def list(self) -> list[Partition]:
        """All partitions of this core."""
        effect = await self._before("list")
        settled = [await self._settled(name) for name in self._known()]
        await _after(effect)
        return [partition for partition in settled if partition is not None]

    async def delete(self, name: str) -> None:
        """Accept the removal; the partition is gone ``delete_delay`` seconds later."""
        effect = await self._before("delete")
        async with self._lock(name):
            record = self._read(name)
            if record is not None and record.status != PartitionStatus.DELETING.value:
                gone_at = time.time() + self.delete_delay
                deleting = PartitionStatus.DELETING.value
                self._write(replace(record, status=deleting, gone_at=gone_at))
        await _after(effect)

    async def suspend(self, name: str) -> None:
        """Accept the sleep; the partition is SUSPENDED ``suspend_delay`` seconds later."""
        effect = await self._before("suspend")
        async with self._lock(name):
            record = self._existing(name)
            if record.status not in ("suspending", "suspended", "deleting"):
                asleep_at = time.time() + self.suspend_delay
                self._write(replace(record, status="suspending", asleep_at=asleep_at))
        await _after(effect)

    async def resume(self, name: str) -> None:
        """Accept the waking; the partition is READY ``delay`` seconds later."""
        effect = await self._before("resume", self._existing(name).flavor)
        async with self._lock(name):
            record = self._existing(name)
            if record.status == "suspended":
                ready_at = time.time() + self.delay
                self._write(replace(record, status="creating", ready_at=ready_at, error=None))
        await _after(effect)

    async def destroy(self) -> None:
        """End every node and forget every partition, for the end of a test."""
        for name in list(self._known(every_core=True)):
            async with self._lock(name):
                record = self._read(name)
                if record is not None:
                    await self._remove(record)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _before(self, call: str, flavor: str = "", region: str = "") -> str:
        """Take the next fault of this call: it happens here, or its effect is returned."""
        fault = take_fault(self.context.home, call, flavor, region)
        if fault is None or fault.effect.startswith("lost"):
            return fault.effect if fault else ""
        if fault.effect == "hang":
            await asyncio.Event().wait()
        message = f"{call} failed on request of the test"
        raise make_error(fault.effect, message, fault.retry_after)

    async def _settled(self, name: str) -> Partition | None:
        """A partition after all that was due has happened to it; None once it is gone."""
        async with self._lock(name):
            record = self._read(name)
            if record is None or record.core_id != self.context.core_id:
                return None
            now = time.time()
            if record.status == PartitionStatus.DELETING.value and now >= record.gone_at:
                await self._remove(record)
                return None
            after = record
            if 0 < record.evicted_at <= now:
                after = await self._evict(record)
            elif record.status == PartitionStatus.CREATING.value and now >= record.ready_at:
                after = await self._boot(record)
            elif record.status == PartitionStatus.SUSPENDING.value and now >= record.asleep_at:
                await self._power_off(record)
                after = replace(record, status="suspended", slept=True, endpoints=())
            if after != record:
                self._write(after)
            return self._partition(after)

    async def _evict(self, record: _Record) -> _Record:
        await self._power_off(record)
        status = "suspended" if record.suspendable else "failed"
        return replace(record, status=status, error=_PREEMPTED, evicted_at=0.0, slept=True)

    async def _boot(self, record: _Record) -> _Record:
        call = "wake" if record.slept else "boot"
        fault = take_fault(self.context.home, call, record.flavor, record.region)
        effect = fault.effect if fault else ""
        if effect == "hang":
            return replace(record, ready_at=float("inf"))
        if effect and effect != "deaf":
            retry_after = fault.retry_after if fault else None
            error = (effect, f"{call} failed on request of the test", retry_after)
            return replace(record, status="suspended" if record.slept else "failed", error=error)
        for notice in self._folder(record.name).glob("node*/homes/*/.skyport/notice"):
            notice.unlink()
        endpoints = []
        for number in range(record.count):
            attachment = await self._server(record, number).attach()
            port = 1 if effect == "deaf" else attachment.hello.port
            endpoints.append((port, attachment.hello.host_key))
            await attachment.close()
        return replace(record, status=PartitionStatus.READY.value, endpoints=tuple(endpoints))

    async def _power_off(self, record: _Record) -> None:
        for number in range(record.count):
            await self._server(record, number).stop()
        await asyncio.to_thread(_kill_inside, self._folder(record.name))

    async def _remove(self, record: _Record) -> None:
        await self._power_off(record)
        folder = self._folder(record.name)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._file(record.name).unlink(missing_ok=True)

    def _server(self, record: _Record, number: int) -> LocalProcess:
        return _server_of(self.context.home, record, number)

    def _partition(self, record: _Record) -> Partition:
        cpus, memory, _ = self.sizes[record.flavor]
        nodes = tuple(
            Node(
                name=f"{record.name}-{number}",
                endpoint=SSHEndpoint("127.0.0.1", port, host_keys=(host_key,)),
                flavor=record.flavor,
                cpus=cpus,
                memory=memory,
            )
            for number, (port, host_key) in enumerate(record.endpoints)
        )
        error = None if record.error is None else make_error(*record.error)
        return Partition(record.name, PartitionStatus(record.status), nodes, error, record.tags)

    def _folder(self, name: str) -> Path:
        return self.context.home.absolute() / "nodes" / quote(name, safe="")

    def _file(self, name: str) -> Path:
        return self.context.home / "partitions" / f"{quote(name, safe='')}.json"

    def _known(self, *, every_core: bool = False) -> Iterator[str]:
        for path in sorted((self.context.home / "partitions").glob("*.json")):
            fields = json.loads(path.read_text())
            if every_core or fields["core_id"] == self.context.core_id:
                yield fields["name"]

    def _read(self, name: str) -> _Record | None:
        return _record(self._file(name))

    def _existing(self, name: str) -> _Record:
        record = self._read(name)
        if record is None or record.core_id != self.context.core_id:
            raise PartitionNotFound(f"There is no partition {name!r}.")
        return record

    def _write(self, record: _Record) -> None:
        path = self._file(record.name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, json.dumps(asdict(record)))


async def _after(effect: str) -> None:
    if effect == "lost_hang":
        await asyncio.Event().wait()
    if effect == "lost_answer":
        raise GateUnavailable("The answer was lost on request of the test.")


def _record(path: Path) -> _Record | None:
    try:
        fields = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    fields["endpoints"] = tuple((port, key) for port, key in fields["endpoints"])
    fields["error"] = None if fields["error"] is None else tuple(fields["error"])
    return _Record(**fields)


def _server_of(gate_home: Path, record: _Record, number: int) -> LocalProcess:
    home = gate_home.absolute() / "nodes" / quote(record.name, safe="") / f"node{number}"
    return LocalProcess(Settings(home, home / "homes", record.user_ca.strip(), NODE_LIFE))


def _kill_inside(folder: Path) -> None:
    """Kill what runs in a node's folder, as the end of a machine does."""
    prefix = str(folder)
    for process in psutil.process_iter():
        try:
            home = process.environ().get("HOME", "")
            if home.startswith(prefix) or process.cwd().startswith(prefix):
                process.send_signal(signal.SIGKILL)
                process.wait(5)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
