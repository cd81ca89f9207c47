"""``skyport-core azure setup``: what an Azure site stands on, looked at first, then made.

A :class:`Step` is one resource: it is not there yet, or there, or there but otherwise than wanted.
Nothing that exists is changed without being asked to.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from . import network as net
from .admin import AdminClients
from .clients import wire
from .errors import has_code
from .rights import CATALOG, MACHINES, Role, assignment_body, assignment_id, missing
from .settings import AzureSettings

PROVIDERS = ("Microsoft.Compute", "Microsoft.Network")
REGISTRATION_TIMEOUT = 600.0
ASSIGNMENT_TIMEOUT = 120.0
"""Seconds until all of Azure knows a role or an identity that was just made."""

TAGS = {"made-by": "skyport-core azure setup"}


@dataclass(frozen=True)
class Wishes:
    """What the command line asks for.

    Attributes
    ----------
    core
        Address prefixes that SSH is let in from; empty: the network itself and what is joined;
        None: the network itself alone.
    nat
        Whether machines without public addresses get a way out.
    principal, principal_kind
        Object id of the core's identity, which gets the roles, and what it is; "" gives them to
        nobody.
    address_space
        Where the blocks of new virtual networks are taken from.
    """

    core: Sequence[str] | None = ()
    nat: bool = False
    principal: str = ""
    principal_kind: str = "ServicePrincipal"
    address_space: str = net.ADDRESS_SPACE


class Standing(enum.Enum):
    """How a resource stands against what is wanted."""

    MISSING = "create"
    THERE = "there"
    DIFFERENT = "differs"


Act = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Step:
    """One resource: its name for people, how it stands, in what it differs, and what to do."""

    title: str
    standing: Standing
    notes: tuple[str, ...] = ()
    act: Act | None = None


@dataclass(frozen=True)
class _Network:
    """The step of a virtual network, and the address prefixes that it has or will have."""

    step: Step
    addresses: Sequence[str]


class Setup:
    """Looks at what there is and makes what is missing.

    Parameters
    ----------
    settings
        Of the site.
    clients
        Open ones, with the rights of whoever runs the command.
    wishes
        What to make.
    interval
        Seconds between two tries to give a role that Azure does not know yet.
    """

    def __init__(
        self,
        settings: AzureSettings,
        clients: AdminClients,
        wishes: Wishes,
        *,
        interval: float = 5.0,
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._wishes = wishes
        self._interval = interval
        self._group = settings.resource_group
        self._taken: list[str] = []

    async def look(self) -> list[Step]:
        """All steps in the order in which they have to be taken. Raises HttpResponseError."""
        regions = [one for one in self._settings.regions if one not in self._settings.subnets]
        self._taken = await self._taken_prefixes()
        before = await asyncio.gather(*(self._provider(name) for name in PROVIDERS))
        group = await self._resource_group()
        steps = [*before, group]
        for region in regions:
            steps += await self._region(region)
        for role, scope in self.roles():
            steps.append(await self._role(role, scope))
            if self._wishes.principal:
                steps.append(await self._assignment(role, scope))
        return steps

    def roles(self) -> list[tuple[Role, str]]:
        """The roles, each with the scope that it is made for and given on."""
        subscription = f"/subscriptions/{self._settings.subscription}"
        return [(MACHINES, self._settings.group_id), (CATALOG, subscription)]

    async def _provider(self, name: str) -> Step:
        providers = self._clients.resources.providers
        state = str(wire(await providers.get(name)).get("registrationState", ""))
        if state == "Registered":
            return Step(f"provider {name}", Standing.THERE)

        async def register() -> None:
            await providers.register(name)
            loop = asyncio.get_running_loop()
            deadline = loop.time() + REGISTRATION_TIMEOUT
            while wire(await providers.get(name)).get("registrationState") != "Registered":
                if loop.time() > deadline:
                    raise TimeoutError(f"Azure still has not registered {name}; run setup again")
                await asyncio.sleep(self._settings.operation_interval)

        return Step(f"provider {name}", Standing.MISSING, (f"it is {state}",), register)

    async def _resource_group(self) -> Step:
        groups = self._clients.resources.resource_groups
        location = self._settings.regions[0]
        there = await _find(groups.get(self._group))
        if there is not None:
            return Step(f"resource group {self._group}", Standing.THERE)
        body = {"location": location, "tags": self._tags}
        return Step(
            f"resource group {self._group} in {location}",
            Standing.MISSING,
            act=lambda: groups.create_or_update(self._group, body),
        )

    async def _region(self, region: str) -> list[Step]:
        """The network of a region: security group, way out, subnet."""
        network = await self._network(region)
        steps = [await self._security_group(region, network.addresses)]
        if self._wishes.nat:
            steps += [await self._address(region), await self._nat(region)]
        return [*steps, network.step]

    async def _security_group(self, region: str, inside: Sequence[str]) -> Step:
        """The step of a security group; ``inside`` is what its network consists of."""
        groups = self._clients.network.network_security_groups
        name = self._settings.network_name(region)
        core = inside if self._wishes.core is None else self._wishes.core
        rules = net.wanted_rules(core, self._settings.ssh_port)
        there = await _find(groups.get(self._group, name))
        if there is None:
            body = net.security_group(region, rules, self._tags)
        else:
            body = net.with_rules(there, rules)
        differences = net.rule_differences(there, rules, any_core=not core) if there else ()
        return self._step(
            f"network security group {name}",
            there,
            differences,
            lambda: self._make(groups, name, body),
            notes=[str(rule) for rule in rules],
        )

    async def _address(self, region: str) -> Step:
        addresses = self._clients.network.public_ip_addresses
        name = self._address_name(region)
        there = await _find(addresses.get(self._group, name))
        body = net.public_address(region, self._tags)
        return self._step(
            f"public address {name}", there, (), lambda: self._make(addresses, name, body)
        )

    async def _nat(self, region: str) -> Step:
        gateways = self._clients.network.nat_gateways
        name = self._settings.network_name(region)
        address = self._id("publicIPAddresses", self._address_name(region))
        there = await _find(gateways.get(self._group, name))
        body = (
            net.nat_gateway(region, address, self._tags)
            if there is None
            else net.with_address(there, address)
        )
        differences = net.nat_differences(there, address) if there else ()
        return self._step(
            f"NAT gateway {name}",
            there,
            differences,
            lambda: self._make(gateways, name, body),
            notes=["it is billed by the hour and by the gigabyte"],
        )

    async def _network(self, region: str) -> _Network:
        networks = self._clients.network.virtual_networks
        name = self._settings.network_name(region)
        group = self._id("networkSecurityGroups", name)
        nat = self._id("natGateways", name) if self._wishes.nat else None
        there = await _find(networks.get(self._group, name))
        title = f"virtual network {name} with subnet {net.SUBNET}"
        if there is None:
            block = net.free_block([self._wishes.address_space], self._taken, net.NETWORK_PREFIX)
            self._taken.append(str(block))
            body = net.virtual_network(region, block, group, nat, self._tags)
            notes = [f"addresses {block}"]
            step = self._step(title, None, (), lambda: self._make(networks, name, body), notes)
            return _Network(step, [str(block)])
        differences = net.network_differences(there, group, nat)
        changed = net.with_subnet(there, group, nat) if differences else {}
        step = self._step(title, there, differences, lambda: self._make(networks, name, changed))
        return _Network(step, net.address_prefixes(there))

    async def _role(self, role: Role, scope: str) -> Step:
        definitions = self._clients.authorization.role_definitions
        number = role.id(scope).rpartition("/")[2]
        there = await _find(definitions.get(scope, number))
        title = f"role {role.name(scope)!r} with {len(role.actions)} rights"
        return self._step(
            title,
            there,
            _role_differences(there, role) if there else (),
            lambda: definitions.create_or_update(scope, number, role.body(scope)),
        )

    async def _assignment(self, role: Role, scope: str) -> Step:
        assignments = self._clients.authorization.role_assignments
        principal = self._wishes.principal
        number = assignment_id(role, scope, principal).rpartition("/")[2]
        body = assignment_body(role, scope, principal, self._wishes.principal_kind)
        title = f"role {role.name(scope)!r} given to {principal}"
        try:
            found = [
                wire(one)["properties"]
                async for one in assignments.list_for_scope(
                    scope, filter=f"principalId eq '{principal}'"
                )
            ]
        except ResourceNotFoundError:
            found = []
        definition = role.id(scope).rpartition("/")[2]
        given = any(
            str(one.get("roleDefinitionId", "")).lower().endswith(definition)
            and str(one.get("principalId", "")).lower() == principal.lower()
            for one in found
        )
        return self._step(
            title, {} if given else None, (), lambda: self._assign(scope, number, body)
        )

    async def _assign(self, scope: str, number: str, body: Mapping[str, Any]) -> None:
        """Give a role, as soon as Azure knows it and whom it is given to."""
        assignments: Any = self._clients.authorization.role_assignments
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ASSIGNMENT_TIMEOUT
        while True:
            try:
                await assignments.create(scope, number, body)
                return
            except HttpResponseError as error:
                known = not has_code(error, "RoleDefinitionDoesNotExist", "PrincipalNotFound")
                if known or loop.time() > deadline:
                    raise
            await asyncio.sleep(self._interval)

    def _step(
        self,
        title: str,
        there: Mapping[str, Any] | None,
        differences: Sequence[str],
        act: Act,
        notes: Sequence[str] = (),
    ) -> Step:
        if there is None:
            return Step(title, Standing.MISSING, tuple(notes), act)
        if differences:
            return Step(title, Standing.DIFFERENT, tuple(differences), act)
        return Step(title, Standing.THERE)

    async def _make(self, operations: Any, name: str, body: Mapping[str, Any]) -> None:
        poller = await operations.begin_create_or_update(self._group, name, body)
        await poller.result()

    async def _taken_prefixes(self) -> list[str]:
        """The address spaces of all virtual networks of the subscription."""
        networks = self._clients.network.virtual_networks.list_all()
        return [prefix async for one in networks for prefix in net.address_prefixes(wire(one))]

    def _id(self, kind: str, name: str) -> str:
        return f"{self._settings.group_id}/providers/Microsoft.Network/{kind}/{name}"

    def _address_name(self, region: str) -> str:
        return f"{self._settings.network_name(region)}-nat"

    @property
    def _tags(self) -> dict[str, str]:
        return {**self._settings.extra_tags, **TAGS}


def _role_differences(there: Mapping[str, Any], role: Role) -> list[str]:
    """In what a role's rights are not the wanted ones."""
    permissions = there.get("properties", {}).get("permissions") or []
    wanted = {action.lower() for action in role.actions}
    lacks = missing(role.actions, permissions)
    allowed = [str(one) for each in permissions for one in each.get("actions") or ()]
    more = sorted(one for one in allowed if one.lower() not in wanted)
    return [
        *([f"it lacks {', '.join(lacks)}"] if lacks else []),
        *([f"it also allows {', '.join(more)}"] if more else []),
    ]


async def _find(call: Awaitable[Any]) -> dict[str, Any] | None:
    """What a GET shows; None when there is no such thing (nor its group, maybe)."""
    try:
        return wire(await call)
    except ResourceNotFoundError:
        return None
    except HttpResponseError as error:
        if has_code(error, "RoleDefinitionDoesNotExist", "ResourceGroupNotFound"):
            return None
        raise
