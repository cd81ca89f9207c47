"""The running core: its parts, wired, with a start and an end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from skyport_gates.gate import Gate, GateContext, GateError, PartitionNotFound, Suspend
from skyport_gates.timing import ended, in_time

from . import __version__
from .api import HubOptions, Limits, Rates, Services, make_application, unix_door
from .api.doors import HttpsOptions, hub_door, hub_sockets, tls_door
from .certificates import Certificates
from .inventory import Inventory
from .jobs.attachment import Attachments
from .jobs.context import JobContext
from .jobs.files import JobFiles
from .jobs.following import Feeds
from .jobs.placement import Placer
from .jobs.reach import Reach
from .jobs.reconciler import JobReconciler
from .jobs.records import Records
from .jobs.service import Jobs
from .jobs.totals import ResultTotals
from .model import PartitionRecord, PartitionState
from .partitions.reaper import reap
from .partitions.reconciler import PartitionReconciler
from .partitions.service import Partitions as PartitionService
from .pki import DEFAULT_DAYS, Authority, Issuer, Register
from .pki.server import ServerIdentity
from .scheduling import Policy
from .secretkey import load_secret_key
from .settings import Settings
from .sites import Sites
from .ssh.identity import SSHIdentity
from .ssh.pool import ConnectionPool
from .store import GateMemory, Store
from .whatif import WhatIf
from .wire import Health
from .workqueue import WorkQueue

ASK_AGAIN = 0.5
"""Seconds between two requests to let a machine sleep when the core ends."""


class Core:
    """One core with its store, gates, connections and API.

    Parameters
    ----------
    home : Path
        Folder of the core's state, 0700.
    db_url : str
        SQLite or PostgreSQL.
    gates : mapping of str to Gate
        By site name; configured but not started.
    make_pool : callable
        Makes the pool of SSH connections for an identity.
    socket_path : Path
        Where the Unix door is made.
    allowed_uids : collection of int
        Who may use that door, besides root and the core's own user.
    hub : HubOptions, optional
        Where JupyterHub and the door behind its proxy are; None: there is no such door.
    https : HttpsOptions, optional
        Where HTTPS is served; None: nowhere.
    certificate_days : float
        How long certificates are valid unless their requests say otherwise.
    hub_certificate_hours : float
        How long those are valid that users get with tokens of the hub; 0: they get none.
    rates : Rates, optional
        What each caller may use, at all doors together.
    reap_interval, refresh_interval : float
        Seconds between two searches for leftovers, and two looks at the gates' inventories.
    """

    def __init__(
        self,
        *,
        home: Path,
        db_url: str,
        gates: Mapping[str, Gate],
        policy: Policy,
        settings: Settings,
        make_pool: Callable[[SSHIdentity], ConnectionPool],
        socket_path: Path,
        allowed_uids: frozenset[int],
        refresh_interval: float,
        reap_interval: float,
        log: logging.Logger,
        hub: HubOptions | None = None,
        https: HttpsOptions | None = None,
        certificate_days: float = DEFAULT_DAYS,
        hub_certificate_hours: float = 0,
        rates: Rates | None = None,
    ) -> None:
        self.home = home
        self.log = log
        self._db_url = db_url
        self._gates = gates
        self._policy = policy
        self._settings = settings
        self._make_pool = make_pool
        self._socket_path = socket_path
        self._allowed_uids = allowed_uids
        self._hub = hub
        self._limits = Limits(rates)
        self._https = https
        self._certificate_days = certificate_days
        self._hub_certificate_hours = hub_certificate_hours
        self._refresh_interval = refresh_interval
        self._reap_interval = reap_interval
        self._started = time.monotonic()
        self._core_id = ""
        self._tasks: list[asyncio.Task[None]] = []
        self._lost_parts: list[str] = []
        self._open = contextlib.AsyncExitStack()

    async def start(self) -> None:
        """Open the store and the doors, then take up what was under way.

        A start that fails leaves nothing open.
        """
        self._loop = asyncio.get_running_loop()
        async with contextlib.AsyncExitStack() as stack:
            # A hub that started this core waits for the port, and gives up after half a minute.
            sockets = hub_sockets(self._hub) if self._hub else []
            for taken in sockets:
                stack.callback(taken.close)
            self._store = await Store.open(self._db_url, load_secret_key(self.home))
            stack.push_async_callback(self._store.close)
            self._core_id = await self._store.core_id()
            self._wire(SSHIdentity.load(self.home))
            stack.push_async_callback(self._close_sites)
            stack.push_async_callback(self._pool.close)
            stack.push_async_callback(self._attachments.close_all)
            stack.push_async_callback(self._end_parts)
            await self._open_doors(stack, sockets)
            await self._partitions.recover()
            await self._reconciler.recover()
            self._begin_parts()
            self._open = stack.pop_all()
        self._placer.replan()
        self.log.info("Core %s serves %s", self._core_id, self._socket_path)

    async def _open_doors(
        self, stack: contextlib.AsyncExitStack, sockets: Collection[socket.socket]
    ) -> None:
        issuer = Issuer(self._store, Authority.load(self.home), self._core_id)
        register = Register(self._store, issuer.authority)
        services = self._services(issuer, register)
        door = await unix_door(
            make_application(services), self._socket_path, allowed_uids=self._allowed_uids
        )
        stack.push_async_callback(door.close)
        if self._hub:
            application = make_application(services, prefix=self._hub.root, limits=self._limits)
            stack.push_async_callback(hub_door(application, self._hub, sockets).close)
        if self._https:
            https = await tls_door(
                make_application(services, limits=self._limits, original=True),
                register,
                ServerIdentity(issuer, self.home, self._https.server),
                self._https.address,
                self._https.port,
                caps=self._https.caps,
            )
            stack.push_async_callback(https.close)

    def _services(self, issuer: Issuer, register: Register) -> Services:
        return Services(
            self._store,
            self._jobs,
            self._inventory,
            PartitionService(self._store, self._partitions),
            self,
            files=self._files,
            logs=Feeds(self._store, self._jobs, self.log),
            reach=Reach(self._attachments, self._pool, allow_shell=self._settings.allow_shell),
            certificates=Certificates(
                self._store,
                issuer,
                register,
                self._certificate_days,
                self._hub_certificate_hours,
            ),
        )

    def _begin_parts(self) -> None:
        """Start what runs until the core ends."""
        for name, part in (
            ("sites", self._sites.run()),
            ("partitions", self._partitions.run()),
            ("jobs", self._reconciler.run()),
            ("placement", self._placer.run()),
            ("reaper", self._reap()),
            ("records", self._records.run()),
        ):
            task = asyncio.create_task(part, name=name)
            task.add_done_callback(self._part_ended)
            self._tasks.append(task)

    def _part_ended(self, task: asyncio.Task[None]) -> None:
        """None of them ends by itself: without it the core only seems to work."""
        self._lost_parts.append(task.get_name())
        self.log.critical(
            "The core's part %r has ended: restart the core",
            task.get_name(),
            exc_info=None if task.cancelled() else task.exception(),
        )

    async def _end_parts(self) -> None:
        for task in self._tasks:
            task.remove_done_callback(self._part_ended)
        await ended(*self._tasks)

    def _wire(self, identity: SSHIdentity) -> None:
        for name, gate in self._gates.items():
            folder = self.home / "gates" / name
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            gate.context = GateContext(
                self._core_id,
                folder,
                identity.user_ca,
                store=GateMemory(self._store, name),
                changed=self._partition_changed,
            )
        self._sites = Sites(
            self._gates,
            refresh_interval=self._refresh_interval,
            suspect_time=self._settings.suspect_time,
            block_time=self._settings.block_time,
            changed=lambda: self._placer.replan(),
            log=self.log,
        )
        queue: WorkQueue[str] = WorkQueue()
        self._pool = self._make_pool(identity)
        self._attachments = Attachments(
            self._pool,
            self._sites,
            self._settings,
            wake=queue.add,
            warn=lambda job_id: self._reconciler.warned(job_id),
        )
        self._partitions = PartitionReconciler(
            self._store,
            self._sites,
            self._settings,
            core_id=self._core_id,
            user_ca=identity.user_ca,
            home=self.home,
            wake_job=queue.add,
            interrupt_job=lambda job_id: self._reconciler.bereft(job_id),
            log=self.log,
        )
        self._files = JobFiles(
            self._store,
            self.home,
            self._settings.max_input,
            lambda: self._placer.replan(),
            max_total=self._settings.max_inputs_total,
        )
        self._placer = Placer(
            self._store,
            self._sites,
            self._policy,
            self._settings,
            core_id=self._core_id,
            wake=queue.add,
            wake_partition=self._partitions.wake,
            log=self.log,
            missing_inputs=self._files.missing_inputs,
            only_queued=self._files.forget_others,
        )
        context = JobContext(
            store=self._store,
            sites=self._sites,
            attachments=self._attachments,
            partitions=self._partitions,
            settings=self._settings,
            home=self.home,
            log=self.log,
            results=ResultTotals(self._store, self.home, self._settings.max_outputs_total),
        )
        self._reconciler = JobReconciler(context, queue, self._placer.replan)
        self._records = Records(
            self._store,
            self.home,
            self._files.remove_files,
            self._settings.record_time,
            self.log,
        )
        self._jobs = Jobs(
            context,
            self._reconciler,
            self._records,
            self._placer.replan,
            WhatIf(self._store, self._placer),
        )
        self._inventory = Inventory(self._store, self._sites, self._placer.replan)

    def _partition_changed(self, name: str) -> None:
        """A gate saw that a partition changed; it may say so from any thread, at any time."""
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._partitions.wake, name)

    async def _reap(self) -> None:
        await reap(self._store, self._sites, self._core_id, self._reap_interval, self.log)

    async def cancel_all(self, timeout: float) -> None:
        """Cancel every job and wait until all have ended, for at most ``timeout`` seconds.

        Machines that their owners keep outlive their jobs: their sites must have agreed to let
        them sleep, since nobody asks for it once the core is gone.
        """
        deadline = time.monotonic() + timeout
        for job in await self._store.active_jobs():
            await self._jobs.cancel(job.id, job.owner)
        for job in await self._store.active_jobs():
            with self._store.changes.subscribe(job.id) as change:
                while not await self._ended(job.id) and time.monotonic() < deadline:
                    await change.wait(deadline - time.monotonic())
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._put_to_sleep(), max(0.0, deadline - time.monotonic()))

    async def _put_to_sleep(self) -> None:
        records = await self._store.list_partitions(active=True)
        await asyncio.gather(*(self._accepted(record) for record in records))

    async def _accepted(self, known: PartitionRecord) -> None:
        """Wait until a machine's site has accepted that it sleeps, if it is to."""
        gate = self._gates.get(known.site)
        while isinstance(gate, Suspend):
            record = await self._store.get_partition(known.name)
            if record is None or not _goes(record):
                break
            try:
                # Its status may say so before the site has agreed; that this returns does not.
                await self._sites.call(record.site, gate.suspend(record.name))
                break
            except PartitionNotFound:
                break
            except GateError as error:
                self.log.warning("Partition %s does not sleep yet: %s", record.name, error)
                await asyncio.sleep(ASK_AGAIN)

    async def _ended(self, job_id: str) -> bool:
        job = await self._store.get_job(job_id)
        return job is None or job.state.final

    async def stop(self) -> None:
        """Close everything of the core's own; the jobs on the nodes go on.

        What cannot be closed keeps nothing else open; its error is raised at the end.
        """
        await self._open.aclose()

    async def _close_sites(self) -> None:
        busy = {job.site for job in await self._store.active_jobs()}
        await self._sites.close(lambda site: site not in busy)

    async def health(self) -> Health:
        """What ``GET /api/v1/health`` answers."""
        return Health(
            status="degraded" if self._lost_parts else "ok",
            version=__version__,
            core_id=self._core_id,
            uptime=time.monotonic() - self._started,
            jobs=await self._store.count_active(),
        )


def _goes(record: PartitionRecord) -> bool:
    """Whether a machine is on its way to sleep."""
    asleep = record.state is PartitionState.SUSPENDED
    return record.target is PartitionState.SUSPENDED and not asleep
