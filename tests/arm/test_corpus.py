"""The endpoint says no in the words that Azure was recorded to use."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.infra.arm import presets
from tests.infra.arm.clients import vm_request
from tests.infra.arm.images import PlatformImage
from tests.infra.arm.raw import RawClient, Reply
from tests.infra.data import AZURE_DATA, needs_azure_data

pytestmark = needs_azure_data

Record = dict[str, Any]
Situation = Callable[[RawClient], Awaitable[Reply]]

OUT_OF_SCOPE = {
    ("Microsoft.Compute", "BadRequest"): "log analytics, and disks made of blobs",
    ("Microsoft.Compute", "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade"): (
        "scale sets"
    ),
    ("Microsoft.Compute", "OperationNotAllowed"): "maintenance of scale sets",
    ("Microsoft.Compute", "VMExtensionProvisioningError"): "extensions",
    ("Microsoft.Network", "ApplicationGatewayFeatureCannotBeEnabledForSelectedSku"): "gateways",
    ("Microsoft.Network", "GwmOperationTimeOut"): "gateways",
    ("Microsoft.Network", "InitiatingCircuitNotProvisioned"): "express routes",
    ("Microsoft.Network", "NotFound"): "express routes",
    ("Microsoft.Network", "NsgsNotAppliedOnNic"): "network watchers",
    ("Microsoft.Network", "SubscriptionNotAuthorized"): "express routes",
    ("Microsoft.Solutions", "InvalidApplianceState"): "managed applications",
    ("ARM", "Unauthorized"): "key vaults",
}
"""Recorded kinds about what the endpoint does not have."""


def recorded() -> list[Record]:
    """The corpus, without what is out of scope."""
    if not AZURE_DATA.is_dir():
        return []
    corpus = json.loads((AZURE_DATA / "arm_error_corpus_recorded.json").read_text())
    return [each for each in corpus if key(each) not in OUT_OF_SCOPE]


def key(record: Record) -> tuple[str, str]:
    return record["namespace"], record["body"]["error"]["code"]


def shape(error: Any) -> Any:
    """The fields of an error and of those below it."""
    if isinstance(error, list):
        return [shape(each) for each in error]
    return {name: shape(value) for name, value in error.items()} if isinstance(error, dict) else 0


def words(message: str) -> str:
    """A message without names, numbers and times."""
    message = re.sub(r"'\d+'", "'…'", message)
    message = re.sub(r"'[^']*'", "'…'", message)
    message = re.sub(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}", "…", message)
    return re.sub(r"(domain name label) \S+", r"\1 …", message)


def group(raw: RawClient, name: str = "skyport") -> str:
    return raw.endpoint.arm.group_id(name)


async def no_group(raw: RawClient) -> Reply:
    return await raw("GET", f"{group(raw, 'fakename')}/providers/Microsoft.Compute/disks")


def no_resource(kind: str) -> Situation:
    async def ask(raw: RawClient) -> Reply:
        return await raw("GET", f"{group(raw)}/providers/{kind}/none")

    return ask


async def evicted(raw: RawClient) -> Reply:
    arm = raw.endpoint.arm
    path = arm.id("skyport", "Microsoft.Compute/virtualMachines", "one")
    request = vm_request(arm, "one", priority="Spot", evictionPolicy="Delete")
    await raw.polled(await raw("PUT", path, request))
    arm.eviction_notice = 0
    assert (await raw("POST", f"{path}/simulateEviction")).status == 204
    while True:
        reply = await raw("GET", path)
        if reply.status == 404:
            return reply
        await arm.clock.sleep(0.005)


async def missing_parameter(raw: RawClient) -> Reply:
    arm = raw.endpoint.arm
    request = vm_request(arm, "one", osProfile={"adminUsername": None})
    return await raw("PUT", arm.id("skyport", "Microsoft.Compute/virtualMachines", "one"), request)


async def invalid_token(raw: RawClient) -> Reply:
    raw.token = "x"
    return await raw("PUT", group(raw), {"location": "westeurope"})


async def not_registered(raw: RawClient) -> Reply:
    raw.endpoint.arm.providers["microsoft.network"] = "NotRegistered"
    body = {"location": "westeurope"}
    return await raw("PUT", f"{group(raw)}/providers/Microsoft.Network/publicIPAddresses/a", body)


async def unknown_principal(raw: RawClient) -> Reply:
    stem = f"{group(raw)}/providers/Microsoft.Authorization"
    number = "00000000-0000-4000-8000-000000000001"
    reader = (
        await raw("GET", f"{stem}/roleDefinitions", **{"$filter": "roleName eq 'Reader'"})
    ).body
    properties = {"roleDefinitionId": reader["value"][0]["id"], "principalId": number}
    return await raw("PUT", f"{stem}/roleAssignments/{number}", {"properties": properties})


async def terms_not_accepted(raw: RawClient) -> Reply:
    arm = raw.endpoint.arm
    image = PlatformImage("seller", "offer", "plan", plan=True)
    arm.images.platform.append(image)
    reference = {"publisher": "seller", "offer": "offer", "sku": "plan"}
    request = vm_request(arm, "one", storageProfile={"imageReference": reference})
    request["plan"] = {"publisher": "seller", "product": "offer", "name": "plan"}
    return await raw("PUT", arm.id("skyport", "Microsoft.Compute/virtualMachines", "one"), request)


def deployment(raw: RawClient) -> str:
    return f"{group(raw)}/providers/Microsoft.Resources/deployments/one"


def template(*resources: dict[str, Any], **parameters: Any) -> dict[str, Any]:
    contents = {"parameters": parameters, "resources": list(resources)}
    return {"properties": {"mode": "Incremental", "template": contents}}


async def bad_label(raw: RawClient) -> Reply:
    address = {
        "type": "Microsoft.Network/publicIPAddresses",
        "name": "a",
        "location": "westeurope",
        "properties": {"dnsSettings": {"domainNameLabel": "GEN-UNIQUE"}},
    }
    return await raw("PUT", deployment(raw), template(address))


async def parameter_not_given(raw: RawClient) -> Reply:
    return await raw("PUT", deployment(raw), template(location={"type": "string"}))


async def cancelled_too_late(raw: RawClient) -> Reply:
    await raw.polled(await raw("PUT", deployment(raw), template()))
    return await raw("POST", f"{deployment(raw)}/cancel")


def broken(status: int, kind: str, method: str, path: str) -> Situation:
    async def ask(raw: RawClient) -> Reply:
        raw.endpoint.arm.faults.add(presets.server_error(status, kind))
        return await raw(method, f"{group(raw)}/providers/{path}", {})

    return ask


VM = "Microsoft.Compute/virtualMachines"
SITUATIONS: dict[tuple[str, str], Situation] = {
    ("Microsoft.Compute", "NotFound"): evicted,
    ("Microsoft.Compute", "ResourceGroupNotFound"): no_group,
    ("Microsoft.Compute", "InvalidParameter"): missing_parameter,
    ("Microsoft.Compute", "ResourceNotFound"): no_resource("Microsoft.Compute/disks"),
    ("Microsoft.Compute", "PrincipalNotFound"): unknown_principal,
    ("Microsoft.Compute", "ServerTimeout"): broken(
        503, "virtualMachines.simulateEviction", "POST", f"{VM}/one/simulateEviction"
    ),
    ("Microsoft.Network", "ResourceNotFound"): no_resource("Microsoft.Network/networkInterfaces"),
    ("Microsoft.Network", "ServerTimeout"): broken(
        503, "networkInterfaces.put", "PUT", "Microsoft.Network/networkInterfaces/a"
    ),
    ("Microsoft.Storage", "ResourceNotFound"): no_resource(VM),
    ("Microsoft.OperationalInsights", "ResourceNotFound"): no_resource("Microsoft.Compute/disks"),
    ("Microsoft.Management", "InvalidAuthenticationToken"): invalid_token,
    ("Microsoft.DevTestLab", "MissingSubscriptionRegistration"): not_registered,
    ("Microsoft.Resources", "InvalidTemplateDeployment"): bad_label,
    ("Microsoft.Resources", "DeploymentCannotBeCancelled"): cancelled_too_late,
    ("Microsoft.Resources", "MarketplacePurchaseEligibilityFailed"): terms_not_accepted,
    ("Microsoft.Resources", "ServerTimeout"): broken(
        503, "deployments.get", "GET", "Microsoft.Resources/deployments/one"
    ),
    ("ARM", "InvalidTemplate"): parameter_not_given,
    ("ARM", "GatewayTimeout"): broken(504, "disks.get", "GET", "Microsoft.Compute/disks/a"),
}

DELAYED = {("ARM", "InvalidTemplate"): "recorded at the end of a what-if, here refused at once"}


def test_every_recorded_kind_is_tried_or_out_of_scope():
    kinds = {key(each) for each in recorded()}
    assert kinds == set(SITUATIONS)


@pytest.mark.parametrize("record", recorded(), ids=lambda record: ".".join(key(record)))
async def test_an_error_is_worded_as_recorded(raw: RawClient, record: Record):
    reply = await SITUATIONS[key(record)](raw)
    theirs, ours = record["body"]["error"], reply.body["error"]
    assert ours["code"] == theirs["code"]
    assert shape(ours) == shape(theirs)
    assert words(ours["message"]) == words(theirs["message"])
    if key(record) not in DELAYED:
        assert reply.status == record["http"]
        assert set(reply.body) == set(record["body"])
        cause = record["headers"].get("x-ms-failure-cause", [None])[0]
        assert reply.headers.get("x-ms-failure-cause") == cause
    assert reply.headers["Content-Type"] == record["headers"]["content-type"][0]


async def test_a_token_that_is_none_is_challenged_as_recorded(raw: RawClient):
    record = next(each for each in recorded() if each["http"] == 401)
    reply = await invalid_token(raw)
    (challenge,) = record["headers"]["www-authenticate"]
    tenant = raw.endpoint.tenant_id
    assert reply.headers["WWW-Authenticate"].replace(tenant, "") == challenge


async def test_inner_errors_of_a_deployment_are_worded_as_recorded(raw: RawClient):
    kind = ("Microsoft.Resources", "InvalidTemplateDeployment")
    record = next(each for each in recorded() if key(each) == kind)
    reply = await bad_label(raw)
    (theirs,), (ours,) = record["body"]["error"]["details"], reply.body["error"]["details"]
    assert ours == theirs
