"""Template deployments: checked, carried out one resource after the other, their errors wrapped."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from typing import Any

from tests.infra.arm import templates
from tests.infra.arm.capacity import check_quota, check_size
from tests.infra.arm.checks import check_request
from tests.infra.arm.dispatch import dispatch, operation_of, settle
from tests.infra.arm.operations import retry_after
from tests.infra.arm.router import Answer, ArmError, Call, Router, page
from tests.infra.arm.state import VM, Resource

TYPE = "Microsoft.Resources/deployments"
_ALL = "/subscriptions/{sub}/resourceGroups/{group}/providers/" + TYPE
_ONE = _ALL + "/{name}"
_LABEL = r"^[a-z][a-z0-9-]{1,61}[a-z0-9]$"
_PUBLIC_IP = "microsoft.network/publicipaddresses"
_FAILED = (
    "At least one resource deployment operation failed. Please list deployment operations for"
    " details. Please see https://aka.ms/arm-deployment-operations for usage details."
)


def routes(router: Router) -> None:
    """Register the paths of deployments in resource groups."""
    router.add("PUT", _ONE, _put, kind="deployments.put")
    router.add("GET", _ONE, _get, kind="deployments.get")
    router.add("HEAD", _ONE, _exists, kind="deployments.head")
    router.add("DELETE", _ONE, _delete, kind="deployments.delete")
    router.add("GET", _ALL, _list, kind="deployments.list")
    router.add("POST", f"{_ONE}/validate", _validate, kind="deployments.validate")
    router.add("POST", f"{_ONE}/cancel", _cancel, kind="deployments.cancel")
    status = f"{_ONE}/operationStatuses/{{operation}}"
    router.add("GET", status, _status, kind="operations.get")
    steps = "/subscriptions/{sub}/resourceGroups/{group}/deployments/{name}/operations"
    router.add("GET", steps, _steps, kind="deployments.operations")


def _id(call: Call) -> str:
    return call.arm.id(call.params["group"], TYPE, call.name)


def _plan(call: Call) -> list[dict[str, Any]]:
    """The resources of the template, in their order; :class:`ArmError` when it is not valid."""
    group = call.arm.require_group(call.params["group"])
    properties = (call.body or {}).get("properties") or {}
    template = properties.get("template")
    if not isinstance(template, dict) or "resources" not in template:
        raise ArmError(
            400,
            "InvalidTemplate",
            "Deployment template validation failed: 'Required property 'resources' not found in"
            " JSON.'.",
        )
    scope = templates.Scope(call.arm.subscription, group.name, group.location)
    try:
        templates.scope_of(scope, template, properties.get("parameters") or {})
        resources = [templates.evaluate(each, scope) for each in template["resources"]]
        ids = {
            templates.key_of(each): templates.resource_id(
                group.id, each["type"], str(each["name"]).split("/")
            ).lower()
            for each in resources
        }
        return templates.ordered(resources, ids)
    except templates.TemplateError as error:
        place = {"lineNumber": 1, "linePosition": 1, "path": error.path}
        violation = {"type": "TemplateViolation", "info": place}
        refused = ArmError(
            400, "InvalidTemplate", f"Deployment template validation failed: '{error}'."
        )
        refused.more["additionalInfo"] = [violation]
        raise refused from None


def _path(call: Call, resource: dict[str, Any]) -> str:
    names = str(resource["name"]).split("/")
    group_id = call.arm.group_id(call.params["group"])
    return templates.resource_id(group_id, resource["type"], names)


def _body(resource: dict[str, Any]) -> dict[str, Any]:
    left_out = ("type", "name", "apiVersion", "dependsOn", "comments", "condition", "copy")
    return {key: value for key, value in resource.items() if key not in left_out}


def _preflight(call: Call, resources: list[dict[str, Any]]) -> None:
    """What providers refuse before a deployment starts, in the wrapper that ARM puts around it."""
    for each in resources:
        try:
            _check(call, each)
        except ArmError as error:
            if error.code == "MarketplacePurchaseEligibilityFailed":
                raise
            raise ArmError(
                400,
                "InvalidTemplateDeployment",
                f"The template deployment '{call.name}' is not valid according to the validation"
                f" procedure. The tracking id is '{uuid.uuid4()}'. See inner errors for details.",
                details=[error.error()],
                headers={"x-ms-failure-cause": "gateway"},
            ) from None


def _check(call: Call, resource: dict[str, Any]) -> None:
    kind = resource["type"].lower()
    if kind == _PUBLIC_IP:
        settings = (resource.get("properties") or {}).get("dnsSettings") or {}
        label = settings.get("domainNameLabel")
        if label is not None and not re.match(_LABEL, label):
            refused = ArmError(
                400,
                "InvalidDomainNameLabel",
                f"The domain name label {label} is invalid. It must conform to the following"
                f" regular expression: {_LABEL}.",
            )
            refused.more["details"] = []
            raise refused
    elif kind == VM.lower():
        name = str(resource["name"])
        inner = replace(call, params={**call.params, "name": name}, body=_body(resource))
        request = check_request(inner)
        row = check_size(call.arm, name, request)
        spot = request["properties"].get("priority") == "Spot"
        if call.arm.resources.get(_path(call, resource)) is None:
            check_quota(call.arm, row, row["locations"][0].lower(), spot, {})


async def _put(call: Call) -> Answer:
    resources = _plan(call)
    _preflight(call, resources)
    group = call.arm.require_group(call.params["group"])
    old = call.arm.resources.get(_id(call))
    if old is not None and old.properties["provisioningState"] in ("Accepted", "Running"):
        raise ArmError(
            409,
            "DeploymentActive",
            f"Unable to edit or replace deployment '{call.name}': previous deployment from"
            f" '{old.properties['timestamp']}' is still active (expiration time is"
            f" '{call.arm.clock.stamp(7 * 86400)}'). Please see https://aka.ms/arm-deploy for usage"
            " details.",
        )
    deployment = call.arm.resources.put(_id(call), _shown(call), steps=[])
    operation = call.arm.operations.start(
        call,
        deployment.id,
        group.location,
        work=lambda: _carry_out(call, deployment, resources),
        finish=lambda: _set(call, deployment, "Succeeded"),
        fail=lambda error: _set(call, deployment, "Failed", error),
        provider="Microsoft.Resources",
    )
    url = f"{call.base}{deployment.id}/operationStatuses/{operation.id}"
    headers = {"Azure-AsyncOperation": f"{url}?api-version={call.option('api-version')}"}
    return Answer(200 if old else 201, dict(deployment.body), headers | retry_after(call))


def _shown(call: Call) -> dict[str, Any]:
    properties = call.body["properties"]
    given = properties.get("parameters") or {}
    declared = properties["template"].get("parameters") or {}
    parameters = {}
    for name, about in declared.items():
        type_ = about["type"]
        parameters[name] = {"type": type_[:1].upper() + type_[1:]}
        if not type_.lower().startswith("secure"):
            value = given.get(name, {}).get("value", about.get("defaultValue"))
            parameters[name]["value"] = value
    return {
        "id": _id(call),
        "name": call.name,
        "type": TYPE,
        "properties": {
            "templateHash": str(abs(hash(str(properties["template"]))))[:19],
            "parameters": parameters,
            "mode": properties.get("mode", "Incremental"),
            "provisioningState": "Accepted",
            "timestamp": call.arm.clock.stamp(),
            "duration": "PT0S",
            "correlationId": str(uuid.uuid4()),
            "providers": [],
            "dependencies": [],
        },
    }


def _set(call: Call, deployment: Resource, state: str, error: dict[str, Any] | None = None) -> None:
    deployment.properties["provisioningState"] = state
    deployment.properties["timestamp"] = call.arm.clock.stamp()
    if error is not None:
        deployment.properties["error"] = error
    else:
        steps = deployment.hidden["steps"]
        deployment.properties["outputResources"] = [{"id": each["id"]} for each in steps]


async def _carry_out(call: Call, deployment: Resource, resources: list[dict[str, Any]]) -> None:
    deployment.properties["provisioningState"] = "Running"
    for each in resources:
        path = _path(call, each)
        step = {"id": path, "type": each["type"], "name": each["name"], "state": "Running"}
        deployment.hidden["steps"].append(step)
        answer = None
        try:
            answer = await dispatch(call, "PUT", path, _body(each))
            await settle(call, answer)
        except ArmError as error:
            step["state"] = "Failed"
            detail = error.error()
            if answer is not None and operation_of(call, answer) is not None:
                detail = {
                    "code": "ResourceDeploymentFailure",
                    "target": path,
                    "message": "The resource write operation failed to complete successfully,"
                    " because it reached terminal provisioning state 'Failed'.",
                    "details": [detail],
                }
            raise ArmError(409, "DeploymentFailed", _FAILED, deployment.id, [detail]) from None
        step["state"] = "Succeeded"


def _find(call: Call) -> Resource:
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.get(_id(call))
    if found is None:
        raise ArmError(404, "DeploymentNotFound", f"Deployment '{call.name}' could not be found.")
    return found


async def _get(call: Call) -> Answer:
    return Answer(200, _find(call).body)


async def _exists(call: Call) -> Answer:
    return Answer(204 if call.arm.resources.get(_id(call)) else 404)


async def _list(call: Call) -> Answer:
    call.arm.require_group(call.params["group"])
    found = call.arm.resources.list(TYPE, call.params["group"])
    return page(call, [each.body for each in found])


async def _delete(call: Call) -> Answer:
    """Forget a deployment; its resources stay."""
    call.arm.require_group(call.params["group"])
    return Answer(204 if call.arm.resources.delete(_id(call)) is None else 200)


async def _validate(call: Call) -> Answer:
    try:
        resources = _plan(call)
        _preflight(call, resources)
    except ArmError as error:
        return Answer(400, {"error": error.error()})
    return Answer(200, _shown(call))


async def _cancel(call: Call) -> Answer:
    found = _find(call)
    state = found.properties["provisioningState"]
    if state not in ("Accepted", "Running"):
        expiry = call.arm.clock.stamp(7 * 86400)
        raise ArmError(
            409,
            "DeploymentCannotBeCancelled",
            f"The deployment '{call.name}' cannot be cancelled because it has provisioning state"
            f" '{state}' or it has already expired (expiration time is '{expiry}').",
            headers={"x-ms-failure-cause": "gateway"},
        )
    await call.arm.operations.preempt(found.id)
    found.properties["provisioningState"] = "Canceled"
    return Answer(204)


async def _status(call: Call) -> Answer:
    operation = call.arm.operations.get(call.params["operation"])
    if operation is None:
        raise ArmError(404, "NotFound", "The operation could not be found.")
    body = operation.body()
    if operation.running:
        return Answer(200, {**body, "status": "Running"}, retry_after(call))
    return Answer(200, body)


async def _steps(call: Call) -> Answer:
    found = []
    for number, step in enumerate(_find(call).hidden["steps"]):
        found.append(
            {
                "id": f"{_id(call)}/operations/{number:016X}",
                "operationId": f"{number:016X}",
                "properties": {
                    "provisioningOperation": "Create",
                    "provisioningState": step["state"],
                    "timestamp": call.arm.clock.stamp(),
                    "targetResource": {
                        "id": step["id"],
                        "resourceType": step["type"],
                        "resourceName": step["name"],
                    },
                },
            }
        )
    return page(call, found)
