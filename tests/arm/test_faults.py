"""Faults that the ARM endpoint can be told to have, as the real SDK meets them."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from tests.infra.arm import presets
from tests.infra.arm.clients import GROUP, Clients, clients, vm_request
from tests.infra.arm.clock import ManualClock
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.faults import Fault
from tests.infra.arm.state import NIC


async def failure(sdk: Clients, name: str = "vm") -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create(name)
    return caught.value


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (presets.sku_not_available(), 409, "SkuNotAvailable"),
        (presets.quota(), 409, "OperationNotAllowed"),
        (presets.quota("cores", code="QuotaExceeded"), 409, "QuotaExceeded"),
        (presets.throttled(1), 429, "OperationNotAllowed"),
        (presets.arm_throttled(1, presets.VM_PUT), 429, "SubscriptionRequestsThrottled"),
        (presets.server_error(500), 500, "InternalServerError"),
        (presets.server_error(502), 502, "BadGateway"),
        (presets.server_error(503), 503, "ServerTimeout"),
        (presets.server_error(504), 504, "GatewayTimeout"),
        (presets.conflict(presets.VM_PUT), 409, "Conflict"),
        (presets.not_authorized(), 403, "AuthorizationFailed"),
        (presets.disallowed_by_policy(), 403, "RequestDisallowedByPolicy"),
        (presets.subscription_disabled(), 409, "ReadOnlyDisabledSubscription"),
        (presets.wrapped(presets.sku_not_available()), 400, "InvalidTemplateDeployment"),
    ],
)
async def test_a_refusal_at_once(sdk: Clients, fault: Fault, status: int, code: str) -> None:
    fault.struck = 0
    sdk.arm.faults.add(fault)
    error = await failure(sdk)
    assert error.error is not None
    assert (error.status_code, error.error.code) == (status, code)
    assert sdk.arm.leftovers() == []
    await sdk.create("vm")


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (presets.allocation_failed(), "AllocationFailed"),
        (presets.zonal_allocation_failed(), "ZonalAllocationFailed"),
        (presets.overconstrained(), "OverconstrainedAllocationRequest"),
        (presets.overconstrained(zonal=True), "OverconstrainedZonalAllocationRequest"),
        (presets.lro_failure(), "InternalExecutionError"),
        (presets.vm_start_timed_out(), "VMStartTimedOut"),
        (presets.public_address_limit(), "PublicIPCountLimitReached"),
    ],
)
async def test_an_operation_that_fails(sdk: Clients, fault: Fault, code: str) -> None:
    fault.struck = 0
    sdk.arm.faults.add(fault)
    error = await failure(sdk)
    assert error.error is not None
    assert (error.status_code, error.error.code) == (200, code)
    assert sdk.vm("vm").properties["provisioningState"] == "Failed"
    assert len(sdk.arm.resources.list(NIC)) == 1
    assert await sdk.power("vm") == ""
    await sdk.delete("vm")
    assert sdk.arm.leftovers() == []


async def test_a_failed_vm_can_be_put_again(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.allocation_failed())
    await failure(sdk)
    assert (await sdk.create("vm")).provisioning_state == "Succeeded"
    assert await sdk.power("vm") == "running"


async def test_a_429_says_how_long_to_wait(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.throttled(7))
    error = await failure(sdk)
    response: Any = error.response
    assert response.headers["Retry-After"] == "7"


async def test_a_429_is_retried_by_the_sdk_when_it_may(endpoint: ArmEndpoint) -> None:
    endpoint.arm.faults.add(presets.throttled(0))
    async with clients(endpoint, retry_total=3) as sdk:
        await sdk.create("vm")
    assert [each.status for each in endpoint.arm.calls.of("virtualMachines.put")] == [429, 201]


async def test_an_answer_that_is_lost_after_the_work(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.lost_answer(times=2))
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await sdk.create("vm")
    await sdk.arm.settled()
    assert sdk.vm("vm").properties["provisioningState"] == "Succeeded"


async def test_one_lost_answer_is_hidden_by_the_http_client_which_asks_again(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.lost_answer())
    await sdk.create("vm")
    assert [each.status for each in sdk.arm.calls.of("virtualMachines.put")] == [0, 200]


async def test_a_connection_that_drops_before_the_work(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.reset(times=2))
    with pytest.raises((ServiceRequestError, ServiceResponseError)):
        await sdk.create("vm")
    assert sdk.arm.leftovers() == []
    assert sdk.arm.calls.of("virtualMachines.put")[-1].status == 0


async def test_an_answer_that_is_no_json(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.proxy_page())
    assert (await failure(sdk)).status_code == 502


async def test_an_answer_that_comes_late(sdk: Clients) -> None:
    fault = sdk.arm.faults.add(presets.late(0.05))
    await sdk.create("vm")
    assert fault.struck == 1


async def test_a_deletion_that_lies(sdk: Clients) -> None:
    await sdk.create("vm")
    sdk.arm.faults.add(presets.delete_lies("VM"))
    before = len(sdk.arm.leftovers())
    await sdk.delete("vm")
    assert len(sdk.arm.leftovers()) == before
    await sdk.delete("vm")
    assert sdk.arm.leftovers() == []


async def test_a_deletion_that_leaves_things_behind(sdk: Clients) -> None:
    await sdk.create("vm")
    sdk.arm.faults.add(presets.delete_leaves())
    await sdk.delete("vm")
    (nic,) = sdk.arm.resources.list(NIC)
    assert len(sdk.arm.leftovers()) == 2 and "virtualMachine" not in nic.properties
    await (await sdk.network.network_interfaces.begin_delete(GROUP, nic.name)).result()
    assert len(sdk.arm.leftovers()) == 1


async def test_a_nic_that_is_reserved_for_a_while(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.allocation_failed(), presets.delete_leaves(), presets.nic_reserved())
    await failure(sdk)
    await sdk.delete("vm")
    (nic,) = sdk.arm.resources.list(NIC)
    with pytest.raises(HttpResponseError, match="NicReservedForAnotherVm"):
        await sdk.network.network_interfaces.begin_delete(GROUP, nic.name)


async def test_a_lock_keeps_a_vm(sdk: Clients) -> None:
    await sdk.create("vm")
    sdk.arm.faults.add(presets.locked())
    with pytest.raises(HttpResponseError, match="ScopeLocked"):
        await sdk.delete("vm")


async def test_a_fault_strikes_only_what_it_matches(sdk: Clients) -> None:
    fault = sdk.arm.faults.add(presets.zonal_allocation_failed("2", times=None))
    await sdk.create("one", {**vm_request(sdk.arm, "one"), "zones": ["1"]})
    with pytest.raises(HttpResponseError, match="ZonalAllocationFailed"):
        await sdk.create("two", {**vm_request(sdk.arm, "two"), "zones": ["2"]})
    assert fault.struck == 1


async def test_a_fault_can_be_for_one_size(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.sku_not_available("Standard_D4s_v5", times=None))
    await sdk.create("vm")
    with pytest.raises(HttpResponseError, match="SkuNotAvailable"):
        await sdk.create("other", vm_request(sdk.arm, "other", size="Standard_D4s_v5"))


async def test_an_outage_drops_every_connection_until_it_is_over() -> None:
    clock = ManualClock()
    async with ArmEndpoint(clock=clock) as endpoint, clients(endpoint) as sdk:
        await sdk.create("vm")
        endpoint.arm.faults.add(presets.endpoint_down(30))
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            await sdk.power("vm")
        clock.advance(30)
        assert await sdk.power("vm") == "running"


async def test_the_endpoint_can_go_away_and_come_back(endpoint: ArmEndpoint) -> None:
    async with clients(endpoint) as sdk:
        await sdk.create("vm")
        await endpoint.down()
        with pytest.raises((ServiceRequestError, ServiceResponseError)):
            await sdk.power("vm")
        await endpoint.up()
        assert await sdk.power("vm") == "running"
