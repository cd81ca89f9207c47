"""The rights that the core needs, each with its reason, as two custom roles of least rights."""

from __future__ import annotations

import fnmatch
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

_NAMESPACE = uuid.UUID("5f2c8f0e-3c0b-4c58-9a5b-6d4b3b0f7a51")
"""Makes ids of roles and assignments from what they are for, so that none is made twice."""


@dataclass(frozen=True)
class Role:
    """A custom role.

    Attributes
    ----------
    title
        Its name, without the scope that makes it unique in the tenant.
    description
        As administrators see it.
    actions
        What it allows, each with the reason.
    """

    title: str
    description: str
    actions: Mapping[str, str]

    def name(self, scope: str) -> str:
        """The role's name: the names of custom roles are unique in a tenant, so it has the scope.

        ``scope`` is the id of a subscription or a resource group.
        """
        parts = scope.strip("/").split("/")
        place = [parts[1][:8], *parts[3:4]]
        return f"{self.title} ({'/'.join(place)})"

    def id(self, scope: str) -> str:
        """Resource id of its definition."""
        number = uuid.uuid5(_NAMESPACE, f"{self.title}\n{scope.lower()}")
        subscription = "/".join(scope.split("/")[:3])
        return f"{subscription}/providers/Microsoft.Authorization/roleDefinitions/{number}"

    def body(self, scope: str) -> dict[str, Any]:
        """The definition, as the Resource Manager takes it."""
        return {
            "properties": {
                "roleName": self.name(scope),
                "description": self.description,
                "type": "CustomRole",
                "permissions": [{"actions": sorted(self.actions), "notActions": []}],
                "assignableScopes": [scope],
            }
        }


MACHINES = Role(
    title="Sky Port core",
    description="Makes, starts, stops and deletes Sky Port's virtual machines in one group.",
    actions=MappingProxyType(
        {
            "Microsoft.Resources/subscriptions/resourceGroups/read": "sees the group",
            "Microsoft.Authorization/permissions/read": "says which right is missing",
            "Microsoft.Compute/virtualMachines/read": "sees how the machines stand",
            "Microsoft.Compute/virtualMachines/write": "makes machines",
            "Microsoft.Compute/virtualMachines/delete": "deletes machines",
            "Microsoft.Compute/virtualMachines/instanceView/read": "sees whether they run",
            "Microsoft.Compute/virtualMachines/start/action": "wakes machines",
            "Microsoft.Compute/virtualMachines/deallocate/action": "puts machines to sleep",
            "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/action": (
                "reads what a machine printed when it did not start"
            ),
            "Microsoft.Compute/disks/read": "finds disks that were left",
            "Microsoft.Compute/disks/write": "makes the machines' system disks",
            "Microsoft.Compute/disks/delete": "deletes disks",
            "Microsoft.Compute/images/read": "boots managed images of the group",
            "Microsoft.Compute/galleries/images/read": "boots images of a gallery in the group",
            "Microsoft.Compute/galleries/images/versions/read": "and their versions",
            "Microsoft.Compute/proximityPlacementGroups/read": "sees placement groups",
            "Microsoft.Compute/proximityPlacementGroups/write": "puts nodes near each other",
            "Microsoft.Compute/proximityPlacementGroups/delete": "deletes placement groups",
            "Microsoft.Network/networkInterfaces/read": "learns the machines' addresses",
            "Microsoft.Network/networkInterfaces/write": "makes network interfaces",
            "Microsoft.Network/networkInterfaces/delete": "deletes network interfaces",
            "Microsoft.Network/networkInterfaces/join/action": "gives them to machines",
            "Microsoft.Network/publicIPAddresses/read": "learns public addresses",
            "Microsoft.Network/publicIPAddresses/write": "makes public addresses (public_ip)",
            "Microsoft.Network/publicIPAddresses/delete": "deletes public addresses",
            "Microsoft.Network/publicIPAddresses/join/action": "gives them to machines",
            "Microsoft.Network/virtualNetworks/read": "checks the network",
            "Microsoft.Network/virtualNetworks/subnets/read": "checks the subnet's room",
            "Microsoft.Network/virtualNetworks/subnets/join/action": "puts machines into it",
            "Microsoft.Network/networkSecurityGroups/read": "checks the way for SSH",
        }
    ),
)
"""On the resource group."""

CATALOG = Role(
    title="Sky Port core, catalog",
    description="Reads sizes, quotas and marketplace images of a subscription for Sky Port.",
    actions=MappingProxyType(
        {
            "Microsoft.Compute/skus/read": "reads which sizes a region has",
            "Microsoft.Compute/locations/usages/read": "reads quotas",
            "Microsoft.Compute/locations/publishers/artifacttypes/offers/skus/versions/read": (
                "finds images of the marketplace"
            ),
        }
    ),
)
"""On the subscription, since these are not found in any group."""

OPTIONAL = MappingProxyType(
    {
        "Microsoft.Compute/proximityPlacementGroups/": "placement_group",
        "Microsoft.Network/publicIPAddresses/": "public_ip",
        "Microsoft.Compute/virtualMachines/retrieveBootDiagnosticsData/": "boot_diagnostics",
    }
)
"""Beginnings of actions that only an option needs, with that option."""

JOIN_SUBNET = "Microsoft.Network/virtualNetworks/subnets/join/action"
"""Needed on every subnet, also on one outside the group (the option ``subnets``)."""

ASSIGN_IDENTITY = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
"""Needed on the identity itself if the machines get one (the option ``identity``)."""


def assignment_id(role: Role, scope: str, principal: str) -> str:
    """Resource id of the role's assignment to a principal (its object id) on a scope."""
    number = uuid.uuid5(_NAMESPACE, f"{role.id(scope)}\n{principal.lower()}".lower())
    return f"{scope}/providers/Microsoft.Authorization/roleAssignments/{number}"


def assignment_body(role: Role, scope: str, principal: str, kind: str) -> dict[str, Any]:
    """The assignment; ``kind`` is "ServicePrincipal", "User" or "Group"."""
    return {
        "properties": {
            "roleDefinitionId": role.id(scope),
            "principalId": principal,
            "principalType": kind,
        }
    }


def needed(settings: object) -> list[str]:
    """The actions of :data:`MACHINES` that a site with these options needs."""
    unused = tuple(start for start, option in OPTIONAL.items() if not getattr(settings, option))
    return [action for action in MACHINES.actions if not action.startswith(unused or ("-",))]


def allowed(action: str, permissions: Iterable[Mapping[str, Any]]) -> bool:
    """Whether permissions, as the Resource Manager lists them, allow an action.

    Each has ``actions`` and ``notActions``, with ``*`` for any text; what one role excludes,
    another may allow.
    """
    return any(
        _matches(action, each.get("actions")) and not _matches(action, each.get("notActions"))
        for each in permissions
    )


def missing(wanted: Iterable[str], permissions: Iterable[Mapping[str, Any]]) -> list[str]:
    """Those of the wanted actions that are not allowed."""
    found = list(permissions)
    return [action for action in wanted if not allowed(action, found)]


def _matches(action: str, patterns: Iterable[str] | None) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), each.lower()) for each in patterns or ())
