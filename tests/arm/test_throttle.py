"""Azure's request limits, on a clock that tests move."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError

from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.clients import GROUP, Clients, clients
from tests.infra.arm.clock import ManualClock
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.router import ArmError, Call
from tests.infra.arm.state import Arm
from tests.infra.arm.throttle import Bucket, Limit


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest_asyncio.fixture
async def limited(clock: ManualClock) -> AsyncIterator[Clients]:
    async with ArmEndpoint(clock=clock, throttle=True) as endpoint, clients(endpoint) as made:
        yield made


async def exhaust(sdk: Clients) -> HttpResponseError:
    """Look at a VM until Azure has enough."""
    with pytest.raises(HttpResponseError) as caught:
        for _ in range(100):
            await sdk.compute.virtual_machines.instance_view(GROUP, "vm")
    return caught.value


def test_a_bucket_refills_with_time(clock: ManualClock) -> None:
    bucket = Bucket(clock, Limit(2, 60))
    assert (bucket.take(), bucket.take()) == (1, 0)
    assert bucket.wait() == pytest.approx(1)
    clock.advance(1)
    assert bucket.wait() == 0
    clock.advance(3600)
    assert bucket.take() == 1


async def test_a_vm_may_be_looked_at_36_times_in_a_row(limited: Clients) -> None:
    await limited.create("vm")
    error = await exhaust(limited)
    assert error.status_code == 429
    seen = limited.arm.calls.of("virtualMachines.instanceView")
    looks = len(seen) + limited.arm.calls.count("virtualMachines.get")
    assert looks == 37 and seen[-1].status == 429


async def test_the_refusal_names_the_limit_and_how_long_to_wait(limited: Clients) -> None:
    await limited.create("vm")
    error = await exhaust(limited)
    response: Any = error.response
    assert error.error is not None and error.error.code == "OperationNotAllowed"
    (detail,) = error.error.details
    assert (detail.code, detail.target) == ("TooManyRequests", "LowCostGetResource")
    assert json.loads(detail.message or "")["allowedRequestCount"] == 36
    assert response.headers["Retry-After"] == "5"


async def test_after_that_wait_it_goes_on(limited: Clients, clock: ManualClock) -> None:
    await limited.create("vm")
    await exhaust(limited)
    clock.advance(5)
    assert await limited.power("vm") == "running"


async def test_another_vm_has_its_own_limit(limited: Clients) -> None:
    await limited.create("vm")
    await limited.create("other")
    await exhaust(limited)
    assert await limited.power("other") == "running"


def test_arm_itself_has_limits(clock: ManualClock) -> None:
    arm = Arm(NullBackend(), clock=clock, throttle=True)
    call = Call(arm, "GET", "/", "", "virtualNetworks.get", {}, {}, {})
    for left in range(249, -1, -1):
        headers = arm.throttle.admit(call)
        assert headers["x-ms-ratelimit-remaining-subscription-reads"] == str(left)
    with pytest.raises(ArmError) as caught:
        arm.throttle.admit(call)
    assert (caught.value.status, caught.value.code) == (429, "SubscriptionRequestsThrottled")
    clock.advance(1)
    arm.throttle.admit(call)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (
            "list",
            "x-ms-ratelimit-remaining-resource",
            "Microsoft.Compute/HighCostGetSubscriptionMaximum;899",
        ),
        ("list", "x-ms-ratelimit-remaining-subscription-global-reads", "3749"),
        (
            "evict",
            "x-ms-ratelimit-remaining-resource",
            "Microsoft.Compute/DeleteVMSubscriptionMaximum;1499,Microsoft.Compute/DeleteVMResource;11",
        ),
        ("evict", "x-ms-ratelimit-remaining-subscription-writes", "199"),
        ("evict", "x-ms-ratelimit-remaining-subscription-global-writes", "2999"),
    ],
)
async def test_answers_tell_what_is_left_as_azures_do(
    sdk: Clients, kind: str, name: str, value: str
) -> None:
    await sdk.create("vm")
    sdk.vm("vm").properties["priority"] = "Spot"
    headers: dict[str, str] = {}

    def note(response: Any) -> None:
        headers.update(response.http_response.headers)

    if kind == "list":
        pages = sdk.compute.virtual_machines.list(GROUP, raw_response_hook=note)
        assert [each async for each in pages]
    else:
        await sdk.compute.virtual_machines.simulate_eviction(GROUP, "vm", raw_response_hook=note)
    assert headers[name] == value
