"""A real elastic site on this machine: each partition is an SSH server process of its own.

The site's state stands in files of the gate's folder, so it outlives the core, and faults are put
there as files too (:func:`inject`), so a test steers the gate of a core in another process.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import psutil
from traitlets import Dict, Float

from skyport_gates import gate as contract
from skyport_gates.gate import (
    Flavor,
    Gate,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    Node,
    Partition,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    QuotaExceeded,
    SSHEndpoint,
    Throttled,
)
from skyport_gates.local_files import write_private
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings

NODE_LIFE = 900.0
"""Seconds after which a node that nobody uses ends by itself, should a test forget it."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong with the next ``call`` (create, get, list, delete, boot).

    ``effect``: a class name of a GateError is raised, with nothing done; "hang" never answers;
    "lost_answer" does the work and then raises GateUnavailable; "lost_hang" does the work and
    then never answers. For "boot" a class name makes the partition FAILED with that error.
    """

    call: str
    effect: str
    flavor: str = ""


_sequence = itertools.count()


def inject(home: Path, fault: Fault, times: int = 1) -> None:
    """Let the next ``times`` calls to the gate whose folder is ``home`` fail."""
    folder = home / "faults"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(times):
        number = f"{time.time_ns()}-{os.getpid()}-{next(_sequence)}"
        write_private(folder / f"{number}.json", json.dumps(asdict(fault)))


def clear_faults(home: Path) -> None:
    """Take back all faults that have not happened yet."""
    shutil.rmtree(home / "faults", ignore_errors=True)


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
    error: tuple[str, str] | None = None
    endpoints: tuple[tuple[int, str], ...] = ()


class ElasticTestGate(Gate):
    """Makes partitions of loopback nodes."""

    sizes = Dict(
        default_value={"small": (1.0, 1024, 0.05), "large": (4.0, 8192, 0.2)},
        help="Flavors: name to (cpus, memory in MiB, USD/hour).",
    ).tag(config=True)
    delay = Float(0.1, min=0, help="Seconds from create() to READY.").tag(config=True)
    delete_delay = Float(0.05, min=0, help="Seconds from delete() to gone.").tag(config=True)

    def __init__(self, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self._locks: dict[str, asyncio.Lock] = {}

    async def flavors(self) -> list[Flavor]:
        """The configured sizes."""
        return [
            Flavor(name, cpus=cpus, memory=memory, price=price)
            for name, (cpus, memory, price) in self.sizes.items()
        ]

    async def create(self, request: PartitionRequest) -> None:
        """Accept a partition; it becomes READY ``delay`` seconds later."""
        if request.flavor not in self.sizes:
            raise InvalidRequest(f"There is no flavor {request.flavor!r}.")
        effect = await self._before("create", request.flavor)
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

    async def destroy(self) -> None:
        """End every node and forget every partition, for the end of a test."""
        for name in list(self._known(every_core=True)):
            async with self._lock(name):
                record = self._read(name)
                if record is not None:
                    await self._remove(record)

    def _lock(self, name: str) -> asyncio.Lock:
        return self._locks.setdefault(name, asyncio.Lock())

    async def _before(self, call: str, flavor: str = "") -> str:
        """Take the next fault of this call: it happens here, or its effect is returned."""
        effect = _take_fault(self.context.home, call, flavor)
        if effect == "hang":
            await asyncio.Event().wait()
        if effect and not effect.startswith("lost"):
            raise make_error(effect, f"{call} failed on request of the test")
        return effect

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
            if record.status == PartitionStatus.CREATING.value and now >= record.ready_at:
                record = await self._boot(record)
                self._write(record)
            return self._partition(record)

    async def _boot(self, record: _Record) -> _Record:
        effect = _take_fault(self.context.home, "boot", record.flavor)
        if effect == "hang":
            return replace(record, ready_at=float("inf"))
        if effect:
            error = (effect, "The node failed to boot on request of the test")
            return replace(record, status=PartitionStatus.FAILED.value, error=error)
        endpoints = []
        for number in range(record.count):
            attachment = await self._server(record, number).attach()
            endpoints.append((attachment.hello.port, attachment.hello.host_key))
            await attachment.close()
        return replace(record, status=PartitionStatus.READY.value, endpoints=tuple(endpoints))

    async def _remove(self, record: _Record) -> None:
        for number in range(record.count):
            await self._server(record, number).stop()
        folder = self._folder(record.name)
        await asyncio.to_thread(_kill_inside, folder)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._file(record.name).unlink(missing_ok=True)

    def _server(self, record: _Record, number: int) -> LocalProcess:
        home = self._folder(record.name) / f"node{number}"
        return LocalProcess(Settings(home, home / "homes", record.user_ca.strip(), NODE_LIFE))

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
        try:
            fields = json.loads(self._file(name).read_text())
        except FileNotFoundError:
            return None
        fields["endpoints"] = tuple((port, key) for port, key in fields["endpoints"])
        fields["error"] = None if fields["error"] is None else tuple(fields["error"])
        return _Record(**fields)

    def _write(self, record: _Record) -> None:
        path = self._file(record.name)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(path, json.dumps(asdict(record)))


def make_error(kind: str, message: str) -> GateError:
    """An error of the contract by its class name."""
    classes: dict[str, type[GateError]] = {
        cls.__name__: cls for cls in (NoCapacity, QuotaExceeded, Throttled, GateUnavailable)
    }
    cls = classes.get(kind) or getattr(contract, kind)
    error = cls(message)
    assert isinstance(error, GateError)
    return error


async def _after(effect: str) -> None:
    if effect == "lost_hang":
        await asyncio.Event().wait()
    if effect == "lost_answer":
        raise GateUnavailable("The answer was lost on request of the test.")


def _take_fault(home: Path, call: str, flavor: str) -> str:
    """The effect of the oldest fault for this call, which is used up by that; "" if none."""
    for path in sorted((home / "faults").glob("*.json")):
        try:
            fault = Fault(**json.loads(path.read_text()))
            if fault.call == call and fault.flavor in ("", flavor):
                path.unlink()
                return fault.effect
        except FileNotFoundError:
            continue  # another call took it
    return ""


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
