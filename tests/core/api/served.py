"""The real API over a real socket and a real store, with the rest of the core in memory."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from cryptography.fernet import Fernet
from tornado.web import Application

from skyport_core.api import Services, UnixDoor, make_application, unix_door
from skyport_core.caller import Caller
from skyport_core.certificates import Certificates
from skyport_core.jobs.files import JobFiles
from skyport_core.jobs.following import Feeds
from skyport_core.jobs.patching import patched
from skyport_core.jobs.records import Records
from skyport_core.jobs.restarting import ASKED, REQUEUED
from skyport_core.model import EventDraft, Job, JobState, PartitionRecord, PartitionState
from skyport_core.pki import Authority, Issuer, Register
from skyport_core.service import ServiceError
from skyport_core.store import Store
from skyport_core.wire import (
    API_PREFIX,
    Address,
    FlavorList,
    FlavorQuery,
    FlavorView,
    Health,
    ImageView,
    JobPatch,
    JobRequest,
    NodeView,
    OfferList,
    OfferRequest,
    OfferView,
    PartitionView,
    QuotaView,
    ShellQuery,
    SiteView,
    TunnelView,
)

JOB = "6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a01"
CORE_ID = "6d1f5a522f5e4b0f9b630c1c5f7f3a00"
OTHER = "6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a02"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
REQUEST = JobRequest(command=("sleep", "60"), owner="alice", name="nap")

HUB_HOURS = 12.0
MAX_INPUT = 2**20
"""Bytes that the inputs of a job may have here."""


def now() -> dt.datetime:
    return dt.datetime.now(dt.timezone.utc)


@dataclass
class MemoryJobs:
    """Jobs that stay QUEUED until the test says otherwise."""

    store: Store
    logs: dict[str, bytes] = field(default_factory=dict)
    failure: Exception | None = None

    allowed_forwards: tuple[str, ...] = ("forge:22",)
    peer_forwards = True
    site_names: tuple[str, ...] = ("lab", "cloud")
    has_accounts: bool = False

    async def submit(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        *,
        submitted: JobRequest | None = None,
        by: Caller | None = None,
        note: str = "",
    ) -> tuple[Job, bool]:
        if self.failure:
            raise self.failure
        return await self.store.put_job(
            job_id, owner, request, now(), submitted=submitted, note=note
        )

    async def change(self, job: Job, change: JobPatch, *, by: Caller | None = None) -> Job:
        changes, told = patched(job, change)
        return await self.store.update_job(job, told, **changes) if changes else job

    async def requeue(self, job: Job) -> Job:
        if not job.state.final:
            return await self.store.update_job(job, ASKED, requeue=True)
        if job.secret:
            raise ServiceError("Its secrets are gone.", code="wrong_state", status=409)
        return await self.store.revive_job(job, REQUEUED)

    async def remove(self, job: Job) -> None:
        async def no_files(job_id: str) -> None:
            return None

        await Records(self.store, Path(), no_files, 0, logging.getLogger("records")).remove(job)

    async def offers(
        self, owner: str, request: OfferRequest, *, by: Caller | None = None
    ) -> OfferList:
        place = OfferView(
            site="lab",
            flavor="big",
            node="n1",
            state="chosen",
            cpus=8,
            memory=16384,
            gpus=0,
            price=None,
        )
        return OfferList(verdict="starts", offers=[place], total=1)

    async def cancel(self, job_id: str, owner: str | None) -> Job | None:
        return await self.store.tombstone(job_id, owner, now())

    async def cancel_array(self, array_id: str, owner: str | None) -> bool:
        return await self.store.cancel_array(array_id, owner, now()) is not None

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        data = self.logs.get(stream, b"")[offset:]
        return data if limit is None else data[:limit]


@dataclass
class MemorySites:
    """One site ``lab`` with one node ``n1``, and ``flavor_count`` times its flavor."""

    queries: list[FlavorQuery] = field(default_factory=list)
    flavor_count: int = 1
    node: NodeView = field(
        default_factory=lambda: NodeView(
            site="lab",
            name="n1",
            flavor="big",
            cpus=8,
            memory=16384,
            gpus=0,
            free_cpus=6,
            free_memory=8192,
            free_gpus=0,
            labels={},
            state="up",
            reason="",
            jobs=[],
        )
    )

    async def flavors(self, query: FlavorQuery) -> FlavorList:
        self.queries.append(query)
        views = [
            FlavorView(
                site="lab",
                name="big",
                description="8 cores",
                cpus=8,
                memory=16384,
                gpus=0,
                gpu_type="",
                price=None,
                capacity=1,
                available_nodes=1,
                free_cpus=6,
                free_memory=8192,
                free_gpus=0,
            )
        ]
        start = int(query.after or 0)
        page = (views * self.flavor_count)[start : start + query.limit]
        end = start + len(page)
        following = str(end) if end < self.flavor_count else None
        return FlavorList(flavors=page, total=self.flavor_count, next=following)

    async def images(self) -> list[ImageView]:
        return [ImageView(site="cloud", name="ubuntu", kind="cloud", description="Ubuntu 24.04")]

    async def quotas(self) -> list[QuotaView]:
        return [
            QuotaView(
                site="cloud",
                name="cores",
                description="Total regional cores",
                region="westeurope",
                used=4,
                limit=100,
                unit="count",
            )
        ]

    async def nodes(self) -> list[NodeView]:
        return [self.node]

    async def sites(self) -> list[SiteView]:
        return [
            SiteView(
                name="lab", gate="OnPremGate", available=True, reason="", nodes=1, running_jobs=0
            )
        ]

    async def set_drain(self, site: str, node: str, drained: bool, reason: str) -> NodeView:
        if (site, node) != (self.node.site, self.node.name):
            raise KeyError(node)
        state = "drained" if drained else "up"
        self.node = self.node.model_copy(update={"state": state, "reason": reason})
        return self.node


@dataclass
class MemoryPartitions:
    """Partitions in the store, of which those named in ``busy`` belong to a job that lives."""

    store: Store
    busy: set[str] = field(default_factory=set)

    async def partitions(self, owner: str | None) -> list[PartitionView]:
        records = await self.store.list_partitions(active=True, owner=owner)
        return [PartitionView.of(record) for record in records]

    async def delete(self, name: str, owner: str | None) -> PartitionView:
        record = await self.store.get_partition(name)
        if record is None or owner not in (None, record.owner):
            raise KeyError(name)
        if name in self.busy:
            raise ServiceError(f"{name} is in use", code="in_use", status=409)
        record = await self.store.update_partition(record, target=PartitionState.DELETED)
        return PartitionView.of(record)


@dataclass
class MemoryPipe:
    """What is sent into it comes out of it, until its end is sent."""

    heard: asyncio.Queue[bytes] = field(default_factory=asyncio.Queue)
    may_read: asyncio.Event = field(default_factory=asyncio.Event)
    size: tuple[int, int] | None = None
    closed: bool = False

    def __post_init__(self) -> None:
        self.may_read.set()

    async def read(self) -> tuple[int, bytes]:
        return 1, await self.heard.get()

    async def write(self, data: bytes) -> None:
        await self.may_read.wait()
        await self.heard.put(data)

    async def write_eof(self) -> None:
        await self.heard.put(b"")

    def resize(self, columns: int, rows: int) -> None:
        self.size = columns, rows

    async def end(self) -> tuple[int | None, str | None]:
        return 0, None

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryReach:
    """Nodes on which everything is an echo; nothing answers at port 1."""

    pipes: list[MemoryPipe] = field(default_factory=list)
    queries: list[ShellQuery] = field(default_factory=list)

    async def shell(self, job: Job, query: ShellQuery) -> MemoryPipe:
        self.queries.append(query)
        self.pipes.append(MemoryPipe())
        return self.pipes[-1]

    async def port(self, job: Job, port: int) -> MemoryPipe:
        if port == 1:
            raise ServiceError("Nothing answers at port 1 of n1.", code="port_refused", status=502)
        self.pipes.append(MemoryPipe())
        return self.pipes[-1]

    def tunnels(self, owner: str | None) -> list[TunnelView]:
        here, there = Address(host="127.96.0.1", port=80), Address(host="127.64.0.1", port=80)
        return [
            TunnelView(
                job=JOB,
                owner=name,
                direction="in",
                name="80",
                listen=here,
                target=there,
                site="lab",
                node="n1",
                up=True,
                connections=2,
            )
            for name in ("alice", "bob")
            if owner in (None, name)
        ]


class MemoryInfo:
    async def health(self) -> Health:
        return Health(status="ok", version="1", core_id="test", uptime=5.0, jobs={"RUNNING": 2})


@dataclass
class ServedCore:
    """What a test works with."""

    door: UnixDoor
    application: Application
    services: Services
    jobs: MemoryJobs
    sites: MemorySites
    partitions: MemoryPartitions

    @property
    def store(self) -> Store:
        return self.services.store

    @property
    def socket(self) -> Path:
        return self.door.path

    async def idle(self) -> None:
        """Wait until no request is being answered."""
        running = self.application.settings["running"]
        if running:
            _, late = await asyncio.wait(running, timeout=10)
            assert not late

    async def submit(self, job_id: str = JOB, owner: str = "alice") -> Job:
        job, _ = await self.store.put_job(job_id, owner, REQUEST, now())
        return job

    async def tell(self, *messages: str, job_id: str = JOB) -> None:
        for message in messages:
            await self.store.add_event(job_id, EventDraft(message))

    async def keep(self, name: str = "p1", owner: str = "alice") -> PartitionRecord:
        """A machine that its owner keeps asleep."""
        return await self.store.put_partition(
            PartitionRecord(
                name,
                site="cloud",
                job_id=JOB,
                owner=owner,
                flavor="small",
                created_at=now(),
                state_since=now(),
                state=PartitionState.SUSPENDED,
                target=PartitionState.SUSPENDED,
                region="westeurope",
                zone="1",
                spot=True,
                price=0.0517,
                keep="desk",
                deadline=now() + dt.timedelta(days=14),
            )
        )

    async def end(self, job_id: str = JOB, state: JobState = JobState.FINISHED) -> None:
        job = await self.store.get_job(job_id)
        assert job is not None
        await self.store.update_job(job, EventDraft("Over", reason="exit"), state=state)


def certificates(store: Store, home: Path) -> Certificates:
    authority = Authority.load(home)
    issuer = Issuer(store, authority, CORE_ID)
    return Certificates(store, issuer, Register(store, authority), hub_hours=HUB_HOURS)


@asynccontextmanager
async def memory_services(folder: Path) -> AsyncIterator[Services]:
    store = await Store.open(f"sqlite:///{folder / 'core.db'}", Fernet.generate_key())
    try:
        jobs, partitions = MemoryJobs(store), MemoryPartitions(store)
        yield Services(
            store,
            jobs,
            MemorySites(),
            partitions,
            MemoryInfo(),
            files=JobFiles(store, folder, MAX_INPUT, lambda: None),
            logs=Feeds(store, jobs, logging.getLogger("tests")),
            reach=MemoryReach(),
            certificates=certificates(store, folder),
        )
    finally:
        await store.close()


@asynccontextmanager
async def served(folder: Path, heartbeat: float = 15.0) -> AsyncIterator[ServedCore]:
    async with memory_services(folder) as services:
        application = make_application(services, heartbeat=heartbeat)
        door = await unix_door(application, folder / "core.sock")
        try:
            assert isinstance(services.jobs, MemoryJobs)
            assert isinstance(services.sites, MemorySites)
            assert isinstance(services.partitions, MemoryPartitions)
            parts = (services.jobs, services.sites, services.partitions)
            yield ServedCore(door, application, services, *parts)
        finally:
            await door.close()


class Http:
    """Plain HTTP to a socket, for what the Python client would not send."""

    def __init__(self, socket: Path) -> None:
        self.session = aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket)))

    async def __aenter__(self) -> Http:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.session.close()

    async def __call__(self, method: str, path: str, **options: Any) -> Answer:
        url = f"http://core{API_PREFIX}{path}"
        if "data" in options:
            options.setdefault("headers", {"Content-Type": "application/json"})
        async with self.session.request(method, url, **options) as response:
            return Answer(response.status, response.headers, await response.read())


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.json["error"]
