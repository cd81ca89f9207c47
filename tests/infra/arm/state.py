"""What the endpoint knows: the state of one subscription, which tests look at and steer."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.infra.arm.backends import Backend, Machine
from tests.infra.arm.calls import CallLog
from tests.infra.arm.clock import Clock
from tests.infra.arm.quotas import Quotas
from tests.infra.arm.router import ArmError, Call

if TYPE_CHECKING:
    from tests.infra.arm.authority import Authority
    from tests.infra.arm.catalog import Catalog
    from tests.infra.arm.faults import Faults
    from tests.infra.arm.images import Images
    from tests.infra.arm.operations import Durations, Operations
    from tests.infra.arm.prices import Prices
    from tests.infra.arm.rights import Rights
    from tests.infra.arm.throttle import Throttle

COMPUTE = "Microsoft.Compute"
NETWORK = "Microsoft.Network"
VM = f"{COMPUTE}/virtualMachines"
DISK = f"{COMPUTE}/disks"
NIC = f"{NETWORK}/networkInterfaces"
PUBLIC_IP = f"{NETWORK}/publicIPAddresses"
VNET = f"{NETWORK}/virtualNetworks"

REGIONS = ("westeurope", "northeurope", "eastus")


@dataclass
class Resource:
    """One resource.

    Attributes
    ----------
    id
        As it was made.
    body
        As ARM shows it (id, name, type, location, tags, properties …).
    hidden
        What ARM knows and does not show.
    """

    id: str
    body: dict[str, Any]
    hidden: dict[str, Any] = field(default_factory=dict)

    @functools.cached_property
    def name(self) -> str:
        """The last part of the id."""
        return self.id.rsplit("/", 1)[-1]

    @functools.cached_property
    def type(self) -> str:
        """ "Microsoft.Compute/virtualMachines"; "Microsoft.Resources/resourceGroups" for groups."""
        return type_of(self.id)

    @functools.cached_property
    def group(self) -> str:
        """The resource group's name."""
        return group_of(self.id)

    @property
    def location(self) -> str:
        """The region."""
        return str(self.body.get("location", ""))

    @property
    def properties(self) -> dict[str, Any]:
        """``properties`` of the body."""
        properties: dict[str, Any] = self.body.setdefault("properties", {})
        return properties


def type_of(resource_id: str) -> str:
    """The resource type that an id names."""
    parts = resource_id.strip("/").split("/")
    lower = [part.lower() for part in parts]
    if "providers" not in lower:
        last = lower[-2] if len(lower) > 1 else ""
        return {
            "resourcegroups": "Microsoft.Resources/resourceGroups",
            "subscriptions": "Microsoft.Resources/subscriptions",
        }.get(last, "")
    at = len(lower) - 1 - lower[::-1].index("providers")
    return "/".join([parts[at + 1], *parts[at + 2 :: 2]])


def group_of(resource_id: str) -> str:
    """The resource group that an id names; "" for none."""
    parts = resource_id.strip("/").split("/")
    lower = [part.lower() for part in parts]
    return parts[lower.index("resourcegroups") + 1] if "resourcegroups" in lower else ""


class ResourceStore:
    """All resources, by id; the case of an id does not matter."""

    def __init__(self) -> None:
        self._by_id: dict[str, Resource] = {}

    def get(self, resource_id: str) -> Resource | None:
        """The resource, None when there is none."""
        return self._by_id.get(resource_id.lower())

    def put(self, resource_id: str, body: dict[str, Any], **hidden: Any) -> Resource:
        """Make or replace a resource; hidden fields of an old one stay unless given anew."""
        old = self.get(resource_id)
        if old is not None:
            old.body = body
            old.hidden.update(hidden)
            return old
        resource = self._by_id[resource_id.lower()] = Resource(resource_id, body, dict(hidden))
        return resource

    def delete(self, resource_id: str) -> Resource | None:
        """Remove a resource; what was removed."""
        return self._by_id.pop(resource_id.lower(), None)

    def below(self, prefix: str) -> list[Resource]:
        """Resources whose id continues ``prefix``/."""
        start = prefix.lower().rstrip("/") + "/"
        return [each for key, each in self._by_id.items() if key.startswith(start)]

    def list(self, type_: str | None = None, group: str | None = None) -> list[Resource]:
        """Resources of a type ("Microsoft.Compute/disks"), in a group or everywhere."""
        return [
            each
            for each in self._by_id.values()
            if (type_ is None or each.type.lower() == type_.lower())
            and (group is None or each.group.lower() == group.lower())
        ]

    def __iter__(self) -> Iterator[Resource]:
        return iter(list(self._by_id.values()))


class Arm:
    """The state of the endpoint. Only the endpoint's event loop may touch it.

    Attributes
    ----------
    url
        Where ARM answers.
    resources, operations, faults, throttle, quotas, calls, clock, backend
        Its parts.
    sizes
        ResourceSkus.
    authority
        Issues and checks tokens.
    rights
        Who may do what.
    images, prices
        What VMs boot and cost.
    providers
        Registration of resource providers by lower-case namespace; others are registered.
    page_size
        How many resources a list gives before a nextLink.
    retry_after
        Seconds that answers of long-running operations ask to wait; None sends no header.
    data
        Folder of recorded data; None when there is none.
    eviction_notice
        Seconds from the notice of an eviction to the eviction.
    evicted
        Ids, in lower case, of VMs that an eviction deleted.
    public_addresses_reachable
        Whether public addresses are those of the machines themselves instead of invented ones.
    """

    resources: ResourceStore
    operations: Operations
    faults: Faults
    throttle: Throttle
    sizes: Catalog
    authority: Authority
    images: Images
    prices: Prices
    rights: Rights

    def __init__(
        self,
        backend: Backend,
        *,
        clock: Clock | None = None,
        durations: Durations | None = None,
        throttle: bool = False,
        regions: tuple[str, ...] = REGIONS,
        data: Path | None = None,
    ) -> None:
        from tests.infra.arm.faults import Faults
        from tests.infra.arm.operations import Operations
        from tests.infra.arm.throttle import Throttle

        self.url = ""
        self.subscription = str(uuid.uuid4())
        self.tenant_id = str(uuid.uuid4())
        self.client_id = str(uuid.uuid4())
        self.client_secret = uuid.uuid4().hex
        self.regions = regions
        self.data = data
        self.backend = backend
        self.clock = clock or Clock()
        self.resources = ResourceStore()
        self.quotas = Quotas()
        self.providers: dict[str, str] = {}
        self.calls = CallLog()
        self.operations = Operations(self.clock, durations)
        self.faults = Faults(self.clock)
        self.throttle = Throttle(self.clock, enabled=throttle)
        self.page_size = 1000
        self.retry_after: int | None = 0
        self.eviction_notice = 30.0
        self.evicted: set[str] = set()
        self.acknowledgements: dict[str, asyncio.Event] = {}
        self.signatures: dict[str, tuple[str, float]] = {}
        self.public_addresses_reachable = False
        self._public_count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def group_id(self, name: str) -> str:
        """The id of a resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{name}"

    def id(self, group: str, type_: str, name: str) -> str:
        """The id of a resource: ``arm.id("skyport", "Microsoft.Compute/disks", "d")``."""
        return f"{self.group_id(group)}/providers/{type_}/{name}"

    def require_group(self, name: str) -> Resource:
        """The resource group; :class:`ArmError` ResourceGroupNotFound when there is none."""
        group = self.resources.get(self.group_id(name))
        if group is None:
            raise ArmError(
                404, "ResourceGroupNotFound", f"Resource group '{name}' could not be found."
            )
        return group

    def vm(self, name: str) -> Resource:
        """The VM of this name, whatever its group; KeyError when there is none."""
        for each in self.resources.list(VM):
            if each.name.lower() == name.lower():
                return each
        raise KeyError(name)

    def machines(self) -> dict[str, Machine]:
        """The machines that the backend was asked to run, by VM name."""
        return {each.name: each.hidden["machine"] for each in self.resources.list(VM)}

    def leftovers(self) -> list[str]:
        """Ids of what costs money or blocks a name: VMs, NICs, disks, public addresses."""
        kinds = {kind.lower() for kind in (VM, NIC, DISK, PUBLIC_IP)}
        return [each.id for each in self.resources if each.type.lower() in kinds]

    def vm_of(self, call: Call) -> str:
        """The VM that a call is for: by its path, or by what its resource belongs to."""
        operation = self.operations.get(call.params.get("operation", ""))
        resource_id = operation.resource_id if operation is not None else call.path
        parts = resource_id.split("/")
        lower = [part.lower() for part in parts]
        if "virtualmachines" in lower[:-1]:
            return parts[lower.index("virtualmachines") + 1]
        resource = self.resources.get(resource_id)
        return str(resource.hidden.get("vm", "")) if resource is not None else ""

    def next_public_address(self) -> str:
        """An address of those kept for documentation."""
        self._public_count += 1
        return f"203.0.113.{self._public_count % 254 + 1}"

    async def evict(self, name: str, notice: float | None = None) -> None:
        """Evict a Spot VM after ``notice`` seconds (``eviction_notice`` by default)."""
        from tests.infra.arm.power import evict

        await evict(self, self.vm(name), notice)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the calls."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        """Return when no operation and no eviction runs."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        await self.operations.settled()

    async def close(self) -> None:
        """Stop what runs and remove all machines."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.operations.close()
        await self.backend.close()
