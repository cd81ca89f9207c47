"""Making partitions: one request for each machine, the same however often it is sent."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError

from ..gate import GateError, GateUnavailable, InvalidRequest, PartitionRequest, QuotaExceeded
from .catalog import Catalog
from .clients import ONCE, Clients
from .cloudinit import CloudInit, custom_data
from .errors import is_passing, translate
from .fleet import Fleet
from .images import Variant
from .keys import Keys
from .machine import Machine, place, vm_body
from .meanings import Subject
from .member import Member
from .names import CORE, PARTITION, all_tags, machine_names, placement_name, tag
from .operations import CREATE, Operation, Operations
from .settings import AzureSettings
from .skus import Size


class Creation:
    """Sends the requests that make machines."""

    def __init__(
        self,
        settings: AzureSettings,
        clients: Clients,
        catalog: Catalog,
        fleet: Fleet,
        operations: Operations,
        keys: Keys,
        *,
        core_id: str,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._catalog = catalog
        self._fleet = fleet
        self._operations = operations
        self._keys = keys
        self._core_id = core_id
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, request: PartitionRequest) -> None:
        """Make a partition; return once Azure has accepted all of it. Raises GateError.

        Two calls at the same time are one. A request on its way is seen through even if nobody
        waits for it any more, so that it is known what it made.
        """
        task = self._tasks.get(request.name)
        if task is None:
            task = asyncio.create_task(self._make(request), name=f"azure make {request.name}")
            self._tasks[request.name] = task
            task.add_done_callback(lambda done: self._done(request.name, done))
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise GateUnavailable("The gate is closed.") from None
            raise

    async def settled(self, name: str) -> None:
        """Return when no request for a partition is on its way."""
        task = self._tasks.get(name)
        if task is not None:
            await asyncio.wait([task])

    def under_way(self, name: str) -> bool:
        """Whether a request for a partition is on its way."""
        return name in self._tasks

    async def close(self) -> None:
        """Give up what is on its way; a repeated request, or a look, finds what it made."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _done(self, name: str, task: asyncio.Task[None]) -> None:
        self._tasks.pop(name, None)
        if not task.cancelled():
            task.exception()

    async def _make(self, request: PartitionRequest) -> None:
        known = self._fleet.get(request.name)
        if known is not None and known.leaving:
            raise InvalidRequest(f"Partition {request.name} is being removed.")
        if known is not None and known.accepted.issuperset(known.machines):
            return
        request, size = self._placed(request)
        variant = self._catalog.book.resolve(request.image, size)
        member = known or self._member(request, size)
        bodies = {
            name: self._body(request, size, variant, name, member.tags)
            for name in member.machines
            if name not in member.accepted
        }
        first = next(iter(bodies.values()))
        member.hibernates = "additionalCapabilities" in first["properties"]
        if known is None:
            await self._fleet.add(member)
        if self._settings.placement_group and len(member.machines) > 1:
            placement = await self._make_placement(member)
            for body in bodies.values():
                place(body, placement)
        subject = self._subject(request, size)
        calls = [self._put(member, name, body, subject) for name, body in bodies.items()]
        results = await asyncio.gather(*calls, return_exceptions=True)
        await self._judge(member, [each for each in results if isinstance(each, BaseException)])

    async def _judge(self, member: Member, errors: list[BaseException]) -> None:
        if not errors:
            return
        # A definite refusal decides; what only may not have worked would be tried in vain.
        definite = [each for each in errors if isinstance(each, GateError) and not is_passing(each)]
        error = (definite or errors)[0]
        if isinstance(error, QuotaExceeded):
            self._catalog.note_quota(member.region)
        if len(definite) == len(errors) and not member.accepted:
            await self._fleet.drop(member)
        raise error

    def _placed(self, request: PartitionRequest) -> tuple[PartitionRequest, Size]:
        """The request with its region, and the size there. Raises InvalidRequest."""
        regions = [request.region] if request.region else list(self._settings.regions)
        for region in regions:
            size = self._catalog.size(request.flavor, region)
            if size is not None and region in self._settings.regions:
                zone = request.zone if self._settings.use_zones else ""
                return replace(request, region=region, zone=zone), size
        raise InvalidRequest(
            f"Azure has no size {request.flavor!r} in {' or '.join(regions)}.",
            hint="Ask for one of the flavors that are offered.",
        )

    def _member(self, request: PartitionRequest, size: Size) -> Member:
        extra = dict(self._settings.extra_tags)
        tags = all_tags(self._core_id, request.name, request.count, request.tags, extra)
        return Member(
            name=request.name,
            machines=machine_names(request.name, request.count),
            tags=tags,
            flavor=size.name,
            region=request.region,
            zone=request.zone,
            spot=request.spot,
            cpus=size.cpus,
            memory=size.memory,
            gpus=size.gpus,
            gpu_type=size.gpu_type,
            username=request.username,
            suspendable=request.suspendable,
        )

    def _subject(self, request: PartitionRequest, size: Size) -> Subject:
        family = self._catalog.family_sizes(size.family)
        return Subject(size.name, request.region, request.zone, request.spot, family)

    def _body(
        self,
        request: PartitionRequest,
        size: Size,
        image: Variant,
        name: str,
        tags: Mapping[str, str],
    ) -> dict[str, Any]:
        settings = self._settings
        # A forgotten machine deletes itself, but never one whose owner keeps files on its disk:
        # that only switches itself off.
        identity = "" if request.suspendable else settings.identity
        data = custom_data(
            CloudInit(
                username=request.username,
                user_ca=request.user_ca,
                host_key_private=self._keys.private(name),
                host_key_public=self._keys.public(name),
                bootstrap=settings.bootstrap,
                container_image=settings.container_image,
                script=settings.bootstrap_script,
                lease=settings.lease,
                hostname=name,
                ssh_port=settings.ssh_port,
                identity=identity,
                arm_url=settings.arm_url if identity else "",
            )
        )
        machine = Machine(
            name=name,
            size=size,
            image=image,
            custom_data=base64.b64encode(data).decode(),
            # Azure wants a key for its login; nobody has the other half of this one.
            admin_key=self._keys.public(f"{name} login"),
            tags=tags,
        )
        return vm_body(request, settings, machine)

    async def _make_placement(self, member: Member) -> str:
        groups: Any = self._clients.compute.proximity_placement_groups
        name, body = placement_name(member.name), {"location": member.region}
        call = groups.create_or_update(
            self._settings.resource_group, name, {**body, "tags": dict(member.tags)}, **ONCE
        )
        made = await self._clients.call(call, member.subject, spend=self._clients.writes)
        return str(made.id)

    async def _put(self, member: Member, name: str, body: dict[str, Any], subject: Subject) -> None:
        machines: Any = self._clients.compute.virtual_machines
        polling = self._operations.polling(CREATE)
        call = machines.begin_create_or_update(
            self._settings.resource_group,
            name,
            body,
            match_condition=MatchConditions.IfMissing,
            polling=polling,
            **ONCE,
        )
        try:
            poller = await self._clients.call(call, raw=True, spend=self._clients.writes)
        except Exception as error:
            words = translate(error, subject)
            taken = isinstance(error, HttpResponseError) and error.status_code in (409, 412)
            if not (taken and is_passing(words)):
                raise words from error
            await self._check_own(member, name, words)
        else:
            await self._operations.watch(Operation(CREATE, name, member.name), poller, polling)
        await self._fleet.accept(member, name)

    async def _check_own(self, member: Member, name: str, refusal: GateError) -> None:
        """Azure has a machine of this name: fine if an earlier request made it."""
        machines: Any = self._clients.compute.virtual_machines
        group = self._settings.resource_group
        try:
            found = await self._clients.call(machines.get(group, name), raw=True)
        except Exception as error:
            raise refusal from error
        tags = {str(key): str(value) for key, value in (found.tags or {}).items()}
        if tag(tags, CORE) != self._core_id or tag(tags, PARTITION) != member.name:
            raise InvalidRequest(
                f"There is a machine {name} in the resource group, of somebody else.",
                hint="An admin gives each core a resource group of its own.",
            )
