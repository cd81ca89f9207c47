"""Who may do what: roles, their assignments, and the actions that a request needs."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.infra.arm.router import Answer, ArmError, Call

_VERBS = {"GET": "read", "HEAD": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}
_JOIN = {
    "subnet": "Microsoft.Network/virtualNetworks/subnets/join/action",
    "networkSecurityGroup": "Microsoft.Network/networkSecurityGroups/join/action",
    "publicIPAddress": "Microsoft.Network/publicIPAddresses/join/action",
    "natGateway": "Microsoft.Network/natGateways/join/action",
    "routeTable": "Microsoft.Network/routeTables/join/action",
}
_NIC_JOIN = "Microsoft.Network/networkInterfaces/join/action"
_ASSIGN = "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"
_GALLERY_READ = "Microsoft.Compute/galleries/images/versions/read"


@dataclass
class Role:
    """A role definition.

    Attributes
    ----------
    id
        Its GUID.
    name, description
        For people; names of custom roles are unique.
    actions, not_actions
        Patterns such as "Microsoft.Compute/virtualMachines/*".
    custom
        Whether somebody made it.
    scopes
        Where a custom role may be assigned.
    """

    id: str
    name: str
    actions: list[str]
    not_actions: list[str] = field(default_factory=list)
    description: str = ""
    custom: bool = False
    scopes: list[str] = field(default_factory=lambda: ["/"])

    def allows(self, action: str) -> bool:
        """Whether the role gives this action."""
        return _matches(self.actions, action) and not _matches(self.not_actions, action)


@dataclass
class Assignment:
    """A role given to a principal on a scope."""

    id: str
    scope: str
    principal: str
    role: str
    principal_type: str = "ServicePrincipal"


BUILT_IN = (
    Role("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ["*"]),
    Role(
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        ["*"],
        [
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ],
    ),
    Role("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ["*/read"]),
    Role(
        "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
        "Virtual Machine Contributor",
        [
            "Microsoft.Authorization/*/read",
            "Microsoft.Compute/availabilitySets/*",
            "Microsoft.Compute/locations/*",
            "Microsoft.Compute/virtualMachines/*",
            "Microsoft.Compute/disks/write",
            "Microsoft.Compute/disks/read",
            "Microsoft.Compute/disks/delete",
            "Microsoft.Network/locations/*",
            "Microsoft.Network/networkInterfaces/*",
            "Microsoft.Network/networkSecurityGroups/join/action",
            "Microsoft.Network/networkSecurityGroups/read",
            "Microsoft.Network/publicIPAddresses/join/action",
            "Microsoft.Network/publicIPAddresses/read",
            "Microsoft.Network/virtualNetworks/read",
            "Microsoft.Network/virtualNetworks/subnets/join/action",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
    ),
    Role(
        "4d97b98b-1d4f-4c57-a787-f0e4fcc0fa3d",
        "Network Contributor",
        [
            "Microsoft.Authorization/*/read",
            "Microsoft.Network/*",
            "Microsoft.Resources/deployments/*",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
    ),
    Role(
        "f1a07417-d97a-45cb-824c-7a7467783830",
        "Managed Identity Operator",
        [
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/read",
            "Microsoft.ManagedIdentity/userAssignedIdentities/*/assign/action",
            "Microsoft.Authorization/*/read",
            "Microsoft.Resources/subscriptions/resourceGroups/read",
        ],
    ),
)
OWNER, CONTRIBUTOR, READER = BUILT_IN[:3]


class Rights:
    """Roles and their assignments.

    Parameters
    ----------
    subscription
        The subscription's id.
    owner
        Object id of the principal that owns it.
    """

    def __init__(self, subscription: str, owner: str) -> None:
        self._root = f"/subscriptions/{subscription}"
        self.roles: dict[str, Role] = {each.id: each for each in BUILT_IN}
        self.assignments: list[Assignment] = []
        self.assign(owner, OWNER, self._root)

    def assign(self, principal: str, role: Role, scope: str = "", name: str = "") -> Assignment:
        """Give a principal a role; on the whole subscription without a scope."""
        assignment = Assignment(name or str(uuid.uuid4()), scope or self._root, principal, role.id)
        self.roles[role.id] = role
        self.assignments.append(assignment)
        return assignment

    def limit(
        self,
        principal: str,
        actions: Iterable[str],
        not_actions: Iterable[str] = (),
        scope: str = "",
    ) -> None:
        """Take all roles from a principal and let it do these actions alone."""
        self.assignments = [each for each in self.assignments if each.principal != principal]
        role_id = str(uuid.uuid4())
        role = Role(role_id, f"limited {role_id}", list(actions), list(not_actions), custom=True)
        self.assign(principal, role, scope)

    def of(self, principal: str, scope: str) -> list[Role]:
        """The roles of a principal that count at a scope."""
        return [
            self.roles[each.role]
            for each in self.assignments
            if each.principal == principal and _within(scope, each.scope)
        ]

    def allowed(self, principal: str, action: str, scope: str) -> bool:
        """Whether a principal may do an action at a scope."""
        return any(role.allows(action) for role in self.of(principal, scope))

    def check(self, call: Call) -> None:
        """:class:`ArmError` 403 when the caller may not do what the request asks for."""
        action, scope = required(call)
        if not action:
            return
        principal = str(call.caller.get("oid", ""))
        if not self.allowed(principal, action, scope) and not self._below(call, principal, action):
            raise ArmError(
                403,
                "AuthorizationFailed",
                f"The client '{principal}' with object id '{principal}' does not have"
                f" authorization to perform action '{action}' over scope '{scope}' or the scope is"
                " invalid. If access was recently granted, please refresh your credentials.",
                headers={"x-ms-failure-cause": "gateway"},
            )
        lacking = [
            (needed, where)
            for needed, where in linked(call)
            if not self.allowed(principal, needed, where)
        ]
        if lacking:
            actions = ", ".join(needed for needed, _ in lacking)
            scopes = ", ".join(where for _, where in lacking)
            raise ArmError(
                403,
                "LinkedAuthorizationFailed",
                f"The client '{principal}' with object id '{principal}' has permission to perform"
                f" action '{action}' on scope '{scope}'; however, it does not have permission to"
                f" perform action(s) '{actions}' on the linked scope(s) '{scopes}' (respectively)"
                " or the linked scope(s) are invalid.",
                headers={"x-ms-failure-cause": "gateway"},
            )

    def narrow(self, call: Call, answer: Answer) -> None:
        """Leave of a subscription's list what the caller may see."""
        action, scope = required(call)
        principal = str(call.caller.get("oid", ""))
        if call.kind.endswith(".listAll") and not self.allowed(principal, action, scope):
            answer.body["value"] = [
                each for each in answer.body["value"] if self.allowed(principal, action, each["id"])
            ]

    def _below(self, call: Call, principal: str, action: str) -> bool:
        """Whether a list of the whole subscription may be answered with a part of it."""
        return (call.kind.endswith(".listAll") or call.kind == "locations.list") and any(
            each.principal == principal
            and (call.kind == "locations.list" or self.roles[each.role].allows(action))
            for each in self.assignments
        )


def required(call: Call) -> tuple[str, str]:
    """The action that a request needs and its scope; "" for requests that anybody may make."""
    path = call.path.rstrip("/")
    scope, _, rest = path.rpartition("/providers/")
    parts = rest.split("/") if rest else []
    lower = [part.lower() for part in parts]
    if not scope:
        kinds = ["Microsoft.Resources", "subscriptions"]
        segments = path.strip("/").split("/")
        if len(segments) > 2:
            kinds.append(
                "resourceGroups" if segments[2].lower() == "resourcegroups" else segments[2]
            )
        kinds += segments[4:5]
        verb = _VERBS.get(call.method, f"{segments[-1]}/action")
        return (f"{'/'.join(kinds)}/{verb}", path) if len(segments) > 2 else ("", "")
    if len(parts) < 2 or lower[-1] in ("register", "unregister"):
        if call.method == "POST":
            return f"{parts[0]}/register/action", scope
        return "Microsoft.Resources/subscriptions/providers/read", scope
    if any("operation" in part for part in lower[1:]):
        return "", ""
    if lower[1] == "locations" and len(parts) > 3:
        kinds = [parts[0], "locations", *parts[3::2]]
        return f"{'/'.join(kinds)}/{_VERBS.get(call.method, 'action')}", scope
    types = [parts[0], *parts[1::2]]
    if call.method == "POST":
        return f"{'/'.join(types)}/action", "/".join([scope, "providers", *parts[:-1]])
    verb = _VERBS[call.method]
    single = len(parts) % 2 == 1
    return f"{'/'.join(types)}/{verb}", path if single else scope


def linked(call: Call) -> list[tuple[str, str]]:
    """Actions on other resources that a body names, each with its scope.

    The resources of a deployment are checked one by one.
    """
    if call.method not in ("PUT", "PATCH") or not call.raw or call.kind == "deployments.put":
        return []
    try:
        body = json.loads(call.raw)
    except ValueError:
        return []
    found = list(dict.fromkeys(_links(body)))
    identities = (body.get("identity") or {}).get("userAssignedIdentities") or {}
    found += [(_ASSIGN, each) for each in identities]
    return [(action, scope) for action, scope in found if scope.lower() != call.path.lower()]


def _links(body: Any, name: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(body, list):
        for each in body:
            if name == "networkInterfaces" and isinstance(each, dict) and each.get("id"):
                yield _NIC_JOIN, str(each["id"])
            yield from _links(each)
    elif isinstance(body, dict):
        for key, value in body.items():
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                if key in _JOIN:
                    yield _JOIN[key], value["id"]
                elif key == "imageReference" and "/galleries/" in value["id"].lower():
                    yield _GALLERY_READ, value["id"]
            yield from _links(value, key)


def _matches(patterns: list[str], action: str) -> bool:
    for pattern in patterns:
        expression = ".*".join(re.escape(part) for part in pattern.split("*"))
        if re.fullmatch(expression, action, re.IGNORECASE):
            return True
    return False


def _within(scope: str, ancestor: str) -> bool:
    low, high = scope.lower().rstrip("/") + "/", ancestor.lower().rstrip("/") + "/"
    return low.startswith(high)
