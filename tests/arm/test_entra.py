"""The authority and the metadata service: whom they believe, and how they say no."""

from __future__ import annotations

import asyncio
import base64
import datetime
import json

import aiohttp
import pytest
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import ClientSecretCredential as SyncClientSecretCredential
from azure.identity.aio import (
    CertificateCredential,
    ClientAssertionCredential,
    ManagedIdentityCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from tests.infra.arm.clients import Clients
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.raw import RawClient


def groups(raw: RawClient) -> str:
    """A path that needs a token."""
    return f"/subscriptions/{raw.endpoint.subscription}/resourceGroups"


def certificate() -> bytes:
    """A new key with its self-signed certificate, PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "core")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + made.public_bytes(serialization.Encoding.PEM)


async def test_a_secret_gets_a_token_that_opens_arm(raw: RawClient):
    reply = await raw.login()
    assert reply.status == 200
    assert reply.body["token_type"] == "Bearer"
    assert reply.body["expires_in"] == 3599
    assert (await raw("GET", groups(raw))).status == 200


@pytest.mark.parametrize(
    ("change", "status", "error", "code"),
    [
        ({"client_secret": "wrong"}, 401, "invalid_client", 7000215),
        ({"client_id": "nobody"}, 400, "unauthorized_client", 700016),
        ({"tenant": "elsewhere"}, 400, "invalid_request", 90002),
        ({"scope": "https://vault.azure.net/.default"}, 400, "invalid_resource", 500011),
        ({"scope": "https://management.azure.com/read"}, 400, "invalid_scope", 1002012),
        ({"grant_type": "password"}, 400, "unsupported_grant_type", 70003),
        ({"client_id": ""}, 400, "invalid_request", 900144),
        ({"client_assertion": "x", "client_assertion_type": "y"}, 400, "invalid_request", 90023),
    ],
)
async def test_a_wrong_request_is_refused_in_entras_words(
    raw: RawClient, change: dict[str, str], status: int, error: str, code: int
):
    reply = await raw.login(**change)
    assert (reply.status, reply.body["error"]) == (status, error)
    assert reply.body["error_codes"] == [code]
    assert reply.body["error_description"].startswith(f"AADSTS{code}: ")
    assert {"trace_id", "correlation_id", "timestamp", "error_uri"} <= set(reply.body)


async def test_the_sdk_raises_for_a_wrong_secret(endpoint: ArmEndpoint, sdk: Clients):
    endpoint.arm.authority.clients[endpoint.client_id].secrets.clear()
    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        await sdk.credential.get_token(f"{endpoint.url}/.default")


async def test_the_synchronous_sdk_gets_a_token_too(endpoint: ArmEndpoint):
    sync = SyncClientSecretCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        endpoint.client_secret,
        authority=endpoint.url,
        disable_instance_discovery=True,
        connection_verify=str(endpoint.ca_file),
    )
    with sync:
        token = await asyncio.to_thread(sync.get_token, f"{endpoint.url}/.default")
    assert endpoint.arm.authority.check(f"Bearer {token.token}")["appid"] == endpoint.client_id


async def test_a_registered_certificate_gets_a_token(endpoint: ArmEndpoint):
    pem = certificate()
    endpoint.arm.authority.clients[endpoint.client_id].trust(pem)
    async with CertificateCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        certificate_data=pem,
        authority=endpoint.url,
        connection_verify=str(endpoint.ca_file),
    ) as certified:
        token = await certified.get_token(f"{endpoint.url}/.default")
    assert endpoint.arm.authority.check(f"Bearer {token.token}")["appid"] == endpoint.client_id


async def test_another_certificate_gets_none(endpoint: ArmEndpoint):
    endpoint.arm.authority.clients[endpoint.client_id].trust(certificate())
    async with CertificateCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        certificate_data=certificate(),
        authority=endpoint.url,
        connection_verify=str(endpoint.ca_file),
    ) as stranger:
        with pytest.raises(ClientAuthenticationError, match="AADSTS700027"):
            await stranger.get_token(f"{endpoint.url}/.default")


async def test_a_federated_token_gets_a_token(endpoint: ArmEndpoint):
    application = endpoint.arm.authority.clients[endpoint.client_id]
    issuer = application.federate("https://cluster.example", "system:serviceaccount:hub:core")
    async with ClientAssertionCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        issuer.token,
        authority=endpoint.url,
        connection_verify=str(endpoint.ca_file),
    ) as federated:
        assert (await federated.get_token(f"{endpoint.url}/.default")).token


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"subject": "system:serviceaccount:hub:other"}, 700213),
        ({"audience": "https://elsewhere.example"}, 700023),
        ({"age": 7200}, 700024),
    ],
)
async def test_a_federated_token_that_does_not_fit_is_refused(
    raw: RawClient, change: dict[str, object], code: int
):
    application = raw.endpoint.arm.authority.clients[raw.endpoint.client_id]
    issuer = application.federate("https://cluster.example", "system:serviceaccount:hub:core")
    assertion = issuer.token(**change)  # type: ignore[arg-type]
    reply = await raw.login(
        client_assertion=assertion,
        client_assertion_type="urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    )
    assert (reply.status, reply.body["error_codes"]) == (401, [code])


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AuthenticationFailed"),
        ("Basic YTpi", "AuthenticationFailedInvalidHeader"),
        ("Bearer nonsense", "InvalidAuthenticationToken"),
    ],
)
async def test_arm_refuses_what_is_no_token(raw: RawClient, header: str | None, code: str):
    raw.token = ""
    sent = {"Authorization": header or ""}
    reply = await raw("GET", groups(raw), headers=sent)
    assert (reply.status, reply.code) == (401, code)
    assert 'error="invalid_token"' in reply.headers["WWW-Authenticate"]


async def test_arm_refuses_a_token_for_another_audience(raw: RawClient):
    authority = raw.endpoint.arm.authority
    application = authority.clients[raw.endpoint.client_id]
    raw.token = authority.issue(application, "https://vault.azure.net")
    reply = await raw("GET", groups(raw))
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationTokenAudience")


async def test_arm_refuses_a_token_of_another_tenant(raw: RawClient):
    async with ArmEndpoint() as other:
        application = other.arm.authority.clients[other.client_id]
        raw.token = other.arm.authority.issue(application, raw.endpoint.url)
    reply = await raw("GET", groups(raw))
    assert (reply.status, reply.code) == (401, "InvalidAuthenticationTokenTenant")


async def test_tokens_expire(raw: RawClient):
    raw.endpoint.arm.authority.lifetime = 0
    reply = await raw("GET", groups(raw))
    assert (reply.status, reply.code) == (401, "ExpiredAuthenticationToken")


async def test_tokens_expire_on_demand(raw: RawClient):
    assert (await raw("GET", groups(raw))).status == 200
    raw.endpoint.arm.authority.expire_tokens()
    assert (await raw("GET", groups(raw))).code == "ExpiredAuthenticationToken"
    raw.token = None
    assert (await raw("GET", groups(raw))).status == 200


async def test_the_sdk_fetches_a_new_token_when_the_old_one_is_over(
    endpoint: ArmEndpoint, sdk: Clients
):
    endpoint.arm.authority.announced = 0
    for _ in range(2):
        assert [each async for each in sdk.compute.virtual_machines.list_all()] == []
    assert endpoint.arm.authority.issued == 2


async def test_the_sdk_keeps_a_token_that_expired_earlier_than_announced(
    endpoint: ArmEndpoint, sdk: Clients
):
    assert [each async for each in sdk.compute.virtual_machines.list_all()] == []
    endpoint.arm.authority.expire_tokens()
    with pytest.raises(HttpResponseError) as caught:
        assert [each async for each in sdk.compute.virtual_machines.list_all()]
    assert caught.value.error is not None
    assert caught.value.error.code == "ExpiredAuthenticationToken"


async def test_the_sdk_answers_a_claims_challenge(endpoint: ArmEndpoint, sdk: Clients):
    assert [each async for each in sdk.compute.virtual_machines.list_all()] == []
    endpoint.arm.authority.challenge()
    assert [each async for each in sdk.compute.virtual_machines.list_all()] == []
    statuses = [each.status for each in endpoint.arm.calls.of("virtualMachines.listAll")]
    assert statuses == [200, 401, 200]


async def test_a_claims_challenge_says_which_claims(raw: RawClient):
    await raw("GET", groups(raw))
    raw.endpoint.arm.authority.challenge()
    reply = await raw("GET", groups(raw))
    header = reply.headers["WWW-Authenticate"]
    assert 'error="insufficient_claims"' in header
    encoded = header.split('claims="', 1)[1].rstrip('"')
    assert "nbf" in json.loads(base64.b64decode(encoded))["access_token"]


async def test_the_configuration_names_the_token_endpoint(raw: RawClient):
    tenant = raw.endpoint.tenant_id
    reply = await raw("GET", f"/{tenant}/v2.0/.well-known/openid-configuration")
    base = f"{raw.endpoint.url}/{tenant}"
    assert reply.body["token_endpoint"] == f"{base}/oauth2/v2.0/token"
    keys = await raw("GET", reply.body["jwks_uri"])
    assert keys.body["keys"][0]["kid"] == raw.endpoint.arm.authority.key_id()


async def test_instances_are_discovered(raw: RawClient):
    reply = await raw("GET", "/common/discovery/instance")
    assert reply.body["tenant_discovery_endpoint"].startswith(raw.endpoint.url)


async def test_the_machine_of_the_core_has_an_identity(
    endpoint: ArmEndpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.imds_url)
    async with ManagedIdentityCredential() as identity:
        token = await identity.get_token(f"{endpoint.url}/.default")
    claims = endpoint.arm.authority.check(f"Bearer {token.token}")
    assert claims["oid"] == endpoint.arm.authority.identities[0].object_id


async def test_an_identity_is_chosen_by_its_client_id(
    endpoint: ArmEndpoint, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", endpoint.imds_url)
    second = endpoint.arm.authority.add_identity("/subscriptions/s/userAssignedIdentities/core")
    async with ManagedIdentityCredential(client_id=second.client_id) as identity:
        token = await identity.get_token(f"{endpoint.url}/.default")
    assert endpoint.arm.authority.check(f"Bearer {token.token}")["appid"] == second.client_id


@pytest.mark.parametrize(
    ("headers", "query", "message"),
    [
        ({}, {}, "Required metadata header not specified"),
        ({"Metadata": "true"}, {"resource": ""}, "Required audience parameter not specified"),
        ({"Metadata": "true"}, {"client_id": "nobody"}, "Identity not found"),
        ({"Metadata": "true", "X-Forwarded-For": "::1"}, {}, "Forwarded"),
        ({"Metadata": "true"}, {"api-version": "2000-01-01"}, "api-version"),
    ],
)
async def test_the_metadata_service_refuses(
    endpoint: ArmEndpoint, headers: dict[str, str], query: dict[str, str], message: str
):
    full = {"api-version": "2018-02-01", "resource": endpoint.url, **query}
    url = f"{endpoint.imds_url}/metadata/identity/oauth2/token"
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, params=full, headers=headers) as response,
    ):
        assert response.status == 400
        assert message in (await response.json())["error_description"]


async def test_the_metadata_service_tells_where_the_core_runs(endpoint: ArmEndpoint):
    url = f"{endpoint.imds_url}/metadata/instance"
    async with (
        aiohttp.ClientSession(headers={"Metadata": "true"}) as session,
        session.get(url, params={"api-version": "2021-02-01"}) as response,
    ):
        body = await response.json()
    assert body["compute"]["subscriptionId"] == endpoint.subscription
    assert body["compute"]["location"] == endpoint.arm.regions[0]


async def test_the_metadata_service_numbers_are_text(endpoint: ArmEndpoint):
    url = f"{endpoint.imds_url}/metadata/identity/oauth2/token"
    query = {"api-version": "2018-02-01", "resource": endpoint.url}
    async with (
        aiohttp.ClientSession(headers={"Metadata": "true"}) as session,
        session.get(url, params=query) as response,
    ):
        body = await response.json()
    assert isinstance(body["expires_on"], str)
    assert int(body["expires_on"]) > int(body["not_before"])
