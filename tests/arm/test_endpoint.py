"""What the ARM endpoint does for every request, and the ways to run it."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.infra.arm.clients import GROUP, Clients
from tests.infra.arm.endpoint import ArmEndpoint

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "{sub}/resourceGroups", 400, "MissingApiVersionParameter"),
        ("GET", "{sub}/providers/Microsoft.None/things?api-version=1", 404, "InvalidResourceN"),
        ("GET", "{sub}/providers/Microsoft.Compute/none?api-version=1", 404, "InvalidResourceT"),
        ("GET", "/subscriptions/none/resourceGroups?api-version=1", 400, "InvalidSubscriptionId"),
        (
            "GET",
            "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups?api-version=1",
            404,
            "SubscriptionNotFound",
        ),
        ("GET", "/nothing?api-version=1", 404, "NotFound"),
    ],
)
async def test_what_arm_refuses(
    sdk: Clients, method: str, path: str, status: int, code: str
) -> None:
    answer = await sdk.send(method, path.format(sub=f"/subscriptions/{sdk.arm.subscription}"))
    assert answer.status == status and answer.code.startswith(code)


async def test_answers_carry_ids_of_the_request(sdk: Clients) -> None:
    answer = await sdk.send("GET", f"{sdk.arm.group_id(GROUP)}?api-version=2025-04-01")
    assert answer.status == 200
    for name in ("x-ms-request-id", "x-ms-correlation-request-id", "x-ms-routing-request-id"):
        assert answer.headers[name]


async def test_a_caller_without_a_token_is_refused(endpoint: ArmEndpoint) -> None:
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    url = f"{endpoint.url}{endpoint.arm.group_id(GROUP)}?api-version=1"
    async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as answer:
        assert answer.status == 401 and "WWW-Authenticate" in answer.headers


async def test_an_empty_endpoint_has_nothing() -> None:
    async with ArmEndpoint(empty=True) as endpoint:
        assert list(endpoint.arm.resources) == []


async def test_the_metadata_service_of_the_hub_gives_tokens(endpoint: ArmEndpoint) -> None:
    endpoint.arm.authority.add_identity()
    url = f"{endpoint.imds_url}/metadata/identity/oauth2/token"
    query = {"api-version": "2018-02-01", "resource": endpoint.url}
    async with (
        aiohttp.ClientSession(headers={"Metadata": "true"}) as session,
        session.get(url, params=query) as answer,
    ):
        token = (await answer.json())["access_token"]
    assert endpoint.arm.authority.check(f"Bearer {token}")["aud"] == endpoint.url


async def test_it_can_be_run_by_hand() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.infra.arm"), cwd=CHECKOUT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines = []
    async for line in process.stdout:
        lines.append(line.decode())
        if "c.AzureGate.fleet_interval" in lines[-1]:
            break
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 0
    assert any(line.startswith("c.AzureGate.base_url = 'https://") for line in lines)
