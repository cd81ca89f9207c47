"""The paths of roles, assignments and of what the caller may do."""

from __future__ import annotations

import re
import uuid
from typing import Any

from tests.infra.arm.rights import Assignment, Role
from tests.infra.arm.router import Answer, ArmError, Call, Router

_AUTH = "providers/Microsoft.Authorization"
_SCOPES = (
    "/subscriptions/{sub}",
    "/subscriptions/{sub}/resourceGroups/{rg}",
    "/subscriptions/{sub}/resourceGroups/{rg}/providers/{ns}/{type}/{resource}",
    "/subscriptions/{sub}/resourceGroups/{rg}/providers/{ns}/{type}/{resource}/{type2}/{resource2}",
)
_NAMESPACE = re.compile(r"^(\*|Microsoft\.\w+)(/|$)", re.IGNORECASE)
_QUOTED = re.compile(r"(\w+)(?:\(| eq )'([^']*)'")


def routes(router: Router) -> None:
    """Register the paths of Microsoft.Authorization at every kind of scope."""
    for scope in _SCOPES:
        for kind, put, get, delete, listing in (
            ("roleDefinitions", _put_role, _get_role, _delete_role, _list_roles),
            ("roleAssignments", _assign, _get_assignment, _unassign, _list_assignments),
        ):
            stem = f"{scope}/{_AUTH}/{kind}"
            router.add("PUT", f"{stem}/{{name}}", put, kind=f"{kind}.put")
            router.add("GET", f"{stem}/{{name}}", get, kind=f"{kind}.get")
            router.add("DELETE", f"{stem}/{{name}}", delete, kind=f"{kind}.delete")
            router.add("GET", stem, listing, kind=f"{kind}.list")
        router.add("GET", f"{scope}/{_AUTH}/permissions", _permissions, kind="permissions.list")


def _scope(call: Call) -> str:
    return re.split(f"/{_AUTH}/", call.path, flags=re.IGNORECASE)[0]


def _role_id(call: Call, role: Role) -> str:
    return f"/subscriptions/{call.arm.subscription}/{_AUTH}/roleDefinitions/{role.id}"


def _show_role(call: Call, role: Role) -> dict[str, Any]:
    return {
        "id": _role_id(call, role),
        "type": "Microsoft.Authorization/roleDefinitions",
        "name": role.id,
        "properties": {
            "roleName": role.name,
            "type": "CustomRole" if role.custom else "BuiltInRole",
            "description": role.description,
            "assignableScopes": role.scopes,
            "permissions": [_permission(role)],
        },
    }


def _permission(role: Role) -> dict[str, list[str]]:
    return {
        "actions": role.actions,
        "notActions": role.not_actions,
        "dataActions": [],
        "notDataActions": [],
    }


async def _put_role(call: Call) -> Answer:
    properties = (call.body or {}).get("properties", {})
    permission = (properties.get("permissions") or [{}])[0]
    name = properties.get("roleName", "")
    scopes = properties.get("assignableScopes") or []
    if not name or not scopes:
        raise ArmError(
            400,
            "RoleDefinitionAssignableScopesEmpty" if name else "RoleDefinitionNameEmpty",
            "The role definition needs a name and at least one assignable scope.",
        )
    roles = call.arm.rights.roles
    taken = [each for each in roles.values() if each.custom and each.name.lower() == name.lower()]
    if any(each.id != call.name for each in taken):
        raise ArmError(
            409,
            "RoleDefinitionWithSameNameExists",
            f"A custom role with the same name already exists in this directory. Use a different"
            f" name. The requested role name is '{name}'.",
        )
    actions = list(permission.get("actions") or [])
    for action in actions:
        if not _NAMESPACE.match(action):
            raise ArmError(
                400,
                "InvalidActionOrNotAction",
                f"'{action}' does not match any of the actions supported by the providers.",
            )
    role = roles[call.name] = Role(
        call.name,
        name,
        actions,
        list(permission.get("notActions") or []),
        properties.get("description", ""),
        True,
        list(scopes),
    )
    return Answer(201, _show_role(call, role))


async def _get_role(call: Call) -> Answer:
    return Answer(200, _show_role(call, _role(call, call.name)))


async def _delete_role(call: Call) -> Answer:
    role = call.arm.rights.roles.get(call.name)
    if role is None:
        return Answer(204)
    if any(each.role == role.id for each in call.arm.rights.assignments):
        raise ArmError(
            400,
            "RoleDefinitionHasAssignments",
            "There are existing role assignments referencing role.",
        )
    del call.arm.rights.roles[call.name]
    return Answer(200, _show_role(call, role))


async def _list_roles(call: Call) -> Answer:
    wanted = {key.lower(): value for key, value in _QUOTED.findall(call.option("$filter"))}
    found = []
    for role in call.arm.rights.roles.values():
        kind = "CustomRole" if role.custom else "BuiltInRole"
        if wanted.get("rolename", role.name).lower() != role.name.lower():
            continue
        if wanted.get("type", kind).lower() == kind.lower():
            found.append(_show_role(call, role))
    return Answer(200, {"value": found})


def _role(call: Call, role_id: str) -> Role:
    role: Role | None = call.arm.rights.roles.get(role_id)
    if role is None:
        raise ArmError(
            404,
            "RoleDefinitionDoesNotExist",
            f"The specified role definition with ID '{role_id.replace('-', '')}' does not exist.",
        )
    return role


def _show(call: Call, assignment: Assignment) -> dict[str, Any]:
    role = call.arm.rights.roles[assignment.role]
    return {
        "id": f"{assignment.scope}/{_AUTH}/roleAssignments/{assignment.id}",
        "type": "Microsoft.Authorization/roleAssignments",
        "name": assignment.id,
        "properties": {
            "roleDefinitionId": _role_id(call, role),
            "principalId": assignment.principal,
            "principalType": assignment.principal_type,
            "scope": assignment.scope,
        },
    }


async def _assign(call: Call) -> Answer:
    properties = (call.body or {}).get("properties", {})
    principal = str(properties.get("principalId", ""))
    role = _role(call, str(properties.get("roleDefinitionId", "")).rsplit("/", 1)[-1])
    _need_principal(call, principal, properties.get("principalType"))
    rights, scope = call.arm.rights, _scope(call)
    for each in rights.assignments:
        same = (each.scope.lower(), each.principal, each.role)
        if same == (scope.lower(), principal, role.id):
            raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")
        if each.id == call.name:
            raise ArmError(
                409,
                "RoleAssignmentUpdateNotPermitted",
                "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.",
            )
    assignment = rights.assign(principal, role, scope, call.name)
    assignment.principal_type = properties.get("principalType") or "ServicePrincipal"
    return Answer(201, _show(call, assignment))


def _need_principal(call: Call, principal: str, type_: str | None) -> None:
    """A principal that is so new that it is not everywhere yet passes only with its type given."""
    authority = call.arm.authority
    known = {each.object_id for each in [*authority.clients.values(), *authority.identities]}
    known |= {
        str(each.properties.get("principalId"))
        for each in call.arm.resources.list("Microsoft.ManagedIdentity/userAssignedIdentities")
    }
    try:
        number = uuid.UUID(principal).hex
    except ValueError:
        raise ArmError(
            400, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment."
        ) from None
    if principal not in known and not type_:
        raise ArmError(
            400,
            "PrincipalNotFound",
            f"Principal {number} does not exist in the directory {authority.tenant_id}.",
        )


def _find(call: Call) -> Assignment | None:
    scope = _scope(call).lower()
    found: list[Assignment] = call.arm.rights.assignments
    return next((e for e in found if e.id == call.name and e.scope.lower() == scope), None)


async def _get_assignment(call: Call) -> Answer:
    assignment = _find(call)
    if assignment is None:
        raise ArmError(
            404,
            "RoleAssignmentNotFound",
            f"The role assignment '{call.name.replace('-', '')}' is not found.",
        )
    return Answer(200, _show(call, assignment))


async def _unassign(call: Call) -> Answer:
    assignment = _find(call)
    if assignment is None:
        return Answer(204)
    body = _show(call, assignment)
    call.arm.rights.assignments.remove(assignment)
    return Answer(200, body)


async def _list_assignments(call: Call) -> Answer:
    text = call.option("$filter")
    wanted = {key.lower(): value for key, value in _QUOTED.findall(text)}
    principal = wanted.get("principalid") or wanted.get("assignedto")
    scope = _scope(call).lower().rstrip("/")
    found = []
    for each in call.arm.rights.assignments:
        own = each.scope.lower().rstrip("/")
        above = f"{scope}/".startswith(f"{own}/")
        below = f"{own}/".startswith(f"{scope}/")
        counts = above or (below and "atscope()" not in text.lower())
        if counts and principal in (None, each.principal):
            found.append(_show(call, each))
    return Answer(200, {"value": found})


async def _permissions(call: Call) -> Answer:
    roles = call.arm.rights.of(str(call.caller.get("oid", "")), _scope(call))
    return Answer(200, {"value": [_permission(role) for role in roles]})
