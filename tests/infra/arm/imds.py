"""The metadata service of the machine where the core runs: its managed identity."""

from __future__ import annotations

from tests.infra.arm.authority import Authority, Client
from tests.infra.arm.router import Answer, Call, Router

_TOKEN_VERSIONS = ("2018-02-01", "2019-08-01", "2020-06-01", "2021-02-01")
_INSTANCE_VERSIONS = ("2021-05-01", "2021-02-01", "2021-01-01", "2020-09-01", "2019-06-01")


def routes(router: Router) -> None:
    """Register the metadata service's paths; they are served over plain HTTP, without a token."""
    router.add("GET", "/metadata/identity/oauth2/token", _token, kind="imds.token", public=True)
    router.add("GET", "/metadata/instance", _instance, kind="imds.instance", public=True)


async def _token(call: Call) -> Answer:
    refusal = _refuse_proxies(call)
    if refusal is not None:
        return refusal
    if call.option("api-version") not in _TOKEN_VERSIONS:
        return _bad("invalid_request", "The requested api-version is not supported")
    resource = call.option("resource")
    if not resource:
        return _bad("invalid_request", "Required audience parameter not specified")
    authority: Authority = call.arm.authority
    identity = _identity(call, authority)
    if identity is None:
        return _bad("invalid_request", "Identity not found")
    keys = {"clientId": identity.client_id, "principalId": identity.object_id}
    body = authority.token_for(identity.resource_id, keys, resource)
    if body is None:
        return _bad(
            "invalid_resource",
            f"AADSTS500011: The resource principal named {resource} was not found in the tenant"
            f" named {authority.tenant_id}.",
        )
    return Answer(200, body)


def _identity(call: Call, authority: Authority) -> Client | None:
    """The identity asked for; without a choice the system's, or the only one there is."""
    identities = authority.identities
    for option, attribute in (
        ("client_id", "client_id"),
        ("object_id", "object_id"),
        ("msi_res_id", "resource_id"),
        ("mi_res_id", "resource_id"),
    ):
        wanted = call.option(option).lower()
        if wanted:
            matches = [each for each in identities if getattr(each, attribute).lower() == wanted]
            return matches[0] if matches else None
    system = [each for each in identities if not each.resource_id]
    if system:
        return system[0]
    return identities[0] if len(identities) == 1 else None


async def _instance(call: Call) -> Answer:
    refusal = _refuse_proxies(call)
    if refusal is not None:
        return refusal
    if call.option("api-version") not in _INSTANCE_VERSIONS:
        error = "Bad request. api-version is invalid or was not specified in the request."
        return Answer(400, {"error": error, "newest-versions": list(_INSTANCE_VERSIONS[:3])})
    location = call.arm.regions[0]
    compute = {
        "azEnvironment": "AzurePublicCloud",
        "location": location,
        "name": "hub",
        "osType": "Linux",
        "resourceGroupName": "hub",
        "resourceId": f"{call.arm.group_id('hub')}/providers/Microsoft.Compute/virtualMachines/hub",
        "subscriptionId": call.arm.subscription,
        "tagsList": [],
        "vmSize": "Standard_D2s_v5",
        "zone": "1",
    }
    return Answer(200, {"compute": compute, "network": {"interface": []}})


def _refuse_proxies(call: Call) -> Answer | None:
    """What protects the service from requests that somebody was tricked to forward."""
    if call.headers.get("Metadata", "").lower() != "true":
        return _bad("invalid_request", "Required metadata header not specified")
    if "X-Forwarded-For" in call.headers:
        return _bad("invalid_request", "Forwarded requests are not answered")
    return None


def _bad(error: str, description: str) -> Answer:
    return Answer(400, {"error": error, "error_description": description})
