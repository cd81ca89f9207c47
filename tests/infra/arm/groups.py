"""Subscriptions, resource groups, lists of resources of all kinds, and resource providers."""

from __future__ import annotations

import re
from typing import Any

from tests.infra.arm import deployments, identities
from tests.infra.arm.dispatch import dispatch, settle
from tests.infra.arm.odata import FilterError, compile_filter
from tests.infra.arm.router import Answer, ArmError, Call, Router, page
from tests.infra.arm.state import Resource

SUBSCRIPTION = "/subscriptions/{sub}"
GROUP = f"{SUBSCRIPTION}/resourceGroups/{{group}}"
GROUPS = "Microsoft.Resources/resourceGroups"
PROVIDERS = (
    "Microsoft.Authorization",
    "Microsoft.Compute",
    "Microsoft.ManagedIdentity",
    "Microsoft.Network",
    "Microsoft.Quota",
    "Microsoft.Resources",
    "Microsoft.Storage",
)
_ALWAYS = {"microsoft.authorization", "microsoft.resources"}
_NAME = re.compile(r"^[-\w.()]{1,90}(?<!\.)$")
_LAST = {  # what must go before what it hangs on
    "microsoft.compute/virtualmachines": 0,
    "microsoft.network/networkinterfaces": 1,
    "microsoft.compute/disks": 2,
    "microsoft.network/publicipaddresses": 3,
    "microsoft.network/virtualnetworks": 4,
    "microsoft.network/networksecuritygroups": 5,
}
_PER_RESOURCE = frozenset({"resourceType", "resourceGroup", "name", "location"})


def routes(router: Router) -> None:
    """Register the paths of Microsoft.Resources."""
    router.add("GET", "/subscriptions", _subscriptions, kind="subscriptions.list")
    router.add("GET", SUBSCRIPTION, _subscription, kind="subscriptions.get")
    router.add("PUT", GROUP, _put, kind="resourceGroups.put")
    router.add("PATCH", GROUP, _patch, kind="resourceGroups.patch")
    router.add("GET", GROUP, _get, kind="resourceGroups.get")
    router.add("HEAD", GROUP, _exists, kind="resourceGroups.head")
    router.add("DELETE", GROUP, _delete, kind="resourceGroups.delete")
    router.add("GET", f"{SUBSCRIPTION}/resourceGroups", _list, kind="resourceGroups.listAll")
    result = f"{SUBSCRIPTION}/operationresults/{{operation}}"
    router.add("GET", result, _result, kind="operations.get")
    router.add("GET", f"{SUBSCRIPTION}/resources", _resources, kind="resources.listAll")
    router.add("GET", f"{GROUP}/resources", _resources, kind="resources.list")
    provider = f"{SUBSCRIPTION}/providers/{{namespace}}"
    router.add("GET", f"{SUBSCRIPTION}/providers", _providers, kind="providers.list")
    router.add("GET", provider, _provider, kind="providers.get")
    router.add("POST", f"{provider}/register", _register, kind="providers.register")
    router.add("POST", f"{provider}/unregister", _unregister, kind="providers.unregister")
    deployments.routes(router)
    identities.routes(router)


def require_provider(call: Call) -> None:
    """:class:`ArmError` when a PUT needs a resource provider that is not registered."""
    namespace = re.findall(r"/providers/([^/]+)", call.path, re.IGNORECASE)[-1:]
    if call.method != "PUT" or not namespace or namespace[0].lower() in _ALWAYS:
        return
    state = call.arm.providers.get(namespace[0].lower(), "Registered")
    if state not in ("Registered", "Registering"):
        message = (
            f"The subscription is not registered to use namespace '{namespace[0]}'. See"
            " https://aka.ms/rps-not-found for how to register subscriptions."
        )
        code = "MissingSubscriptionRegistration"
        raise ArmError(
            409,
            code,
            message,
            details=[{"code": code, "target": namespace[0], "message": message}],
            headers={"x-ms-failure-cause": "gateway"},
        )


def _show_subscription(call: Call) -> dict[str, Any]:
    return {
        "id": f"/subscriptions/{call.arm.subscription}",
        "authorizationSource": "RoleBased",
        "managedByTenants": [],
        "subscriptionId": call.arm.subscription,
        "tenantId": call.arm.tenant_id,
        "displayName": "Research",
        "state": "Enabled",
        "subscriptionPolicies": {
            "locationPlacementId": "Public_2014-09-01",
            "quotaId": "PayAsYouGo_2014-09-01",
            "spendingLimit": "Off",
        },
    }


async def _subscriptions(call: Call) -> Answer:
    return Answer(200, {"value": [_show_subscription(call)]})


async def _subscription(call: Call) -> Answer:
    return Answer(200, _show_subscription(call))


async def _put(call: Call) -> Answer:
    name, body = call.params["group"], call.body or {}
    if not _NAME.match(name):
        raise ArmError(
            400,
            "InvalidResourceGroup",
            f"The provided resource group name '{name}' has these invalid characters or is too"
            " long. The name can only be a letter, digit, '-', '.', '(', ')' or '_'.",
        )
    location = str(body.get("location", "")).replace(" ", "").lower()
    if not location:
        raise ArmError(
            400, "LocationRequired", "The location property is required for this definition."
        )
    if location not in call.arm.sizes.regions:
        raise ArmError(
            400,
            "LocationNotAvailableForResourceGroup",
            f"The provided location '{location}' is not available for resource group. List of"
            f" available regions is '{','.join(call.arm.sizes.regions)}'.",
        )
    old = call.arm.resources.get(call.arm.group_id(name))
    if old is not None and old.location != location:
        raise ArmError(
            409,
            "InvalidResourceGroupLocation",
            f"Invalid resource group location '{location}'. The Resource group already exists in"
            f" location '{old.location}'.",
        )
    _refuse_deleting(old)
    shown = {
        "id": call.arm.group_id(name),
        "name": name,
        "type": GROUPS,
        "location": location,
        "properties": {"provisioningState": "Succeeded"},
    }
    if body.get("tags"):
        shown["tags"] = dict(body["tags"])
    call.arm.resources.put(call.arm.group_id(name), shown)
    return Answer(200 if old else 201, shown)


async def _patch(call: Call) -> Answer:
    group = call.arm.require_group(call.params["group"])
    _refuse_deleting(group)
    if "tags" in (call.body or {}):
        group.body["tags"] = dict(call.body["tags"])
    return Answer(200, group.body)


async def _get(call: Call) -> Answer:
    return Answer(200, call.arm.require_group(call.params["group"]).body)


async def _exists(call: Call) -> Answer:
    found = call.arm.resources.get(call.arm.group_id(call.params["group"]))
    return Answer(204 if found else 404)


async def _list(call: Call) -> Answer:
    groups = [each.body for each in call.arm.resources.list(GROUPS)]
    text = call.option("$filter")
    if text:
        test = _filter(text, frozenset({"tagName", "tagValue"}))
        groups = [each for each in groups if _tagged(test, {}, each.get("tags"))]
    return page(call, groups)


async def _delete(call: Call) -> Answer:
    group = call.arm.require_group(call.params["group"])
    operations = call.arm.operations
    operation = operations.on(group.id)
    if operation is None:
        group.properties["provisioningState"] = "Deleting"
        operation = operations.start(
            call,
            group.id,
            group.location,
            work=lambda: _empty(call, group),
            finish=lambda: _forget(call, group),
            fail=lambda error: group.properties.update(provisioningState="Succeeded"),
            provider="Microsoft.Resources",
        )
    return Answer(202, None, _location(call, operation.id))


async def _empty(call: Call, group: Resource) -> None:
    """Delete what the group holds, so that nothing is deleted before what hangs on it."""
    found = call.arm.resources.list(group=group.name)
    found.sort(key=lambda each: _LAST.get(each.type.lower(), 9))
    for each in found:
        whole = each.type.count("/") == 1 and each.type != GROUPS
        if whole and call.arm.resources.get(each.id) is not None:
            await settle(call, await dispatch(call, "DELETE", each.id))


def _forget(call: Call, group: Resource) -> None:
    for each in call.arm.resources.below(group.id):
        call.arm.resources.delete(each.id)
    call.arm.resources.delete(group.id)


def _refuse_deleting(group: Resource | None) -> None:
    if group is not None and group.properties["provisioningState"] == "Deleting":
        raise ArmError(
            409,
            "ResourceGroupBeingDeleted",
            f"The resource group '{group.name}' is in deprovisioning state and cannot perform this"
            " operation.",
        )


def _location(call: Call, operation_id: str) -> dict[str, str]:
    url = f"{call.base}/subscriptions/{call.arm.subscription}/operationresults/{operation_id}"
    headers = {"Location": f"{url}?api-version={call.option('api-version')}"}
    if call.arm.retry_after is not None:
        headers["Retry-After"] = str(call.arm.retry_after)
    return headers


async def _result(call: Call) -> Answer:
    operation = call.arm.operations.get(call.params["operation"])
    if operation is None:
        raise ArmError(404, "NotFound", "The operation could not be found.")
    if operation.running:
        return Answer(202, None, _location(call, operation.id))
    if operation.error is not None:
        return Answer(409, {"error": operation.error})
    return Answer(200)


async def _resources(call: Call) -> Answer:
    group = call.params.get("group")
    if group is not None:
        call.arm.require_group(group)
    text = call.option("$filter")
    by_tag = "tagname" in text.lower() or "tagvalue" in text.lower()
    fields = frozenset({"tagName", "tagValue"}) if by_tag else _PER_RESOURCE
    test = _filter(text, fields)
    found = []
    for each in call.arm.resources.list(group=group):
        if each.type.count("/") != 1 or each.type == GROUPS:
            continue
        facts = {"resourceType": each.type, "resourceGroup": each.group, "name": each.name}
        if _tagged(test, {**facts, "location": each.location}, each.body.get("tags")):
            found.append(_generic(each))
    top = call.option("$top")
    return page(call, found[: int(top)] if top else found)


def _filter(text: str, fields: frozenset[str]) -> Any:
    try:
        return compile_filter(text, fields)
    except FilterError:
        raise ArmError(
            400,
            "InvalidFilterInQueryString",
            f"Invalid $filter '{text}' specified in the query string.",
        ) from None


def _tagged(test: Any, facts: dict[str, Any], tags: dict[str, str] | None) -> bool:
    """Whether a resource passes: as it is, or with one of its tags."""
    rows = [{**facts, "tagName": name, "tagValue": value} for name, value in (tags or {}).items()]
    return any(test(row) for row in rows or [facts])


def _generic(resource: Resource) -> dict[str, Any]:
    keys = ("id", "name", "type", "location", "tags", "sku", "identity", "managedBy")
    return {key: resource.body[key] for key in keys if key in resource.body}


def _show_provider(call: Call, namespace: str) -> dict[str, Any]:
    for known in PROVIDERS:
        if known.lower() == namespace.lower():
            return {
                "id": f"/subscriptions/{call.arm.subscription}/providers/{known}",
                "namespace": known,
                "registrationPolicy": "RegistrationRequired",
                "registrationState": call.arm.providers.get(known.lower(), "Registered"),
                "resourceTypes": [],
            }
    raise ArmError(
        404,
        "InvalidResourceNamespace",
        f"The resource namespace '{namespace}' is invalid.",
    )


async def _providers(call: Call) -> Answer:
    return Answer(200, {"value": [_show_provider(call, name) for name in PROVIDERS]})


async def _provider(call: Call) -> Answer:
    return Answer(200, _show_provider(call, call.params["namespace"]))


async def _register(call: Call) -> Answer:
    """The answer says Registering; the next look finds it Registered."""
    body = _show_provider(call, call.params["namespace"])
    if body["registrationState"] != "Registered":
        call.arm.providers[body["namespace"].lower()] = "Registered"
        body["registrationState"] = "Registering"
    return Answer(200, body)


async def _unregister(call: Call) -> Answer:
    body = _show_provider(call, call.params["namespace"])
    call.arm.providers[body["namespace"].lower()] = "NotRegistered"
    return Answer(200, {**body, "registrationState": "Unregistering"})
