"""User-assigned managed identities."""

from __future__ import annotations

import uuid

from tests.infra.arm.router import Answer, ArmError, Call, Router, page

TYPE = "Microsoft.ManagedIdentity/userAssignedIdentities"
_ALL = "/subscriptions/{sub}/resourceGroups/{group}/providers/" + TYPE
_ONE = _ALL + "/{name}"


def routes(router: Router) -> None:
    """Register the paths of user-assigned identities."""
    router.add("PUT", _ONE, _put)
    router.add("GET", _ONE, _get)
    router.add("DELETE", _ONE, _delete)
    router.add("GET", _ALL, _list)


def _id(call: Call) -> str:
    return call.arm.id(call.params["group"], TYPE, call.name)


async def _put(call: Call) -> Answer:
    call.arm.require_group(call.params["group"])
    body = call.body or {}
    if not body.get("location"):
        raise ArmError(
            400, "LocationRequired", "The location property is required for this definition."
        )
    old = call.arm.resources.get(_id(call))
    properties = old.properties if old else {}
    properties.setdefault("tenantId", call.arm.tenant_id)
    properties.setdefault("principalId", str(uuid.uuid4()))
    properties.setdefault("clientId", str(uuid.uuid4()))
    shown = {
        "id": _id(call),
        "name": call.name,
        "type": TYPE,
        "location": body["location"],
        "tags": dict(body.get("tags") or {}),
        "properties": properties,
    }
    call.arm.resources.put(_id(call), shown)
    return Answer(200 if old else 201, shown)


async def _get(call: Call) -> Answer:
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.get(_id(call))
    if found is None:
        raise ArmError(
            404,
            "ResourceNotFound",
            f"The Resource '{TYPE}/{call.name}' under resource group '{call.params['group']}' was"
            " not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return Answer(200, found.body)


async def _delete(call: Call) -> Answer:
    call.arm.require_group(call.params["group"])
    removed = call.arm.resources.delete(_id(call))
    return Answer(200 if removed else 204)


async def _list(call: Call) -> Answer:
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.list(TYPE, call.params["group"])
    return page(call, [each.body for each in found])
