"""Long-running operations of the ARM endpoint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from azure.core.exceptions import HttpResponseError

from tests.infra.arm import presets
from tests.infra.arm.clients import GROUP, Clients, clients, vm_request
from tests.infra.arm.clock import ManualClock
from tests.infra.arm.endpoint import ArmEndpoint, ArmThread
from tests.infra.arm.operations import Durations
from tests.infra.arm.router import Call


@pytest_asyncio.fixture
async def slow() -> AsyncIterator[Clients]:
    """An endpoint whose clock stands still and whose operations take time."""
    durations = Durations({"virtualMachines.put": 60, "virtualMachines.delete": 20})
    async with (
        ArmEndpoint(clock=ManualClock(), durations=durations) as endpoint,
        clients(endpoint) as made,
    ):
        yield made


def vm_url(sdk: Clients, name: str) -> str:
    path = "providers/Microsoft.Compute/virtualMachines"
    return f"{sdk.arm.group_id(GROUP)}/{path}/{name}?api-version=2026-04-01"


def still(sdk: Clients) -> ManualClock:
    """The clock of a slow endpoint."""
    assert isinstance(sdk.arm.clock, ManualClock)
    return sdk.arm.clock


async def test_a_put_answers_with_an_operation_and_no_location(sdk: Clients) -> None:
    answer = await sdk.send("PUT", vm_url(sdk, "vm"), vm_request(sdk.arm, "vm"))
    assert answer.status == 201
    assert "/locations/westeurope/operations/" in answer.headers["Azure-AsyncOperation"]
    assert answer.headers["Azure-AsyncNotification"] == "Enabled"
    assert "Location" not in answer.headers


async def test_a_deletion_answers_with_operation_and_location(sdk: Clients) -> None:
    await sdk.create("vm")
    answer = await sdk.send("DELETE", vm_url(sdk, "vm"))
    assert (answer.status, answer.body) == (202, None)
    assert "monitor=true" in answer.headers["Location"]
    assert "monitor=true" not in answer.headers["Azure-AsyncOperation"]


async def test_the_location_of_an_operation_is_202_until_it_has_ended(
    slow: Clients,
) -> None:
    await slow.send("PUT", vm_url(slow, "vm"), vm_request(slow.arm, "vm"))
    deleted = await slow.send("DELETE", vm_url(slow, "vm"))
    location = deleted.headers["Location"]
    assert (await slow.send("GET", location)).status == 202
    still(slow).advance(20)
    await slow.arm.settled()
    assert (await slow.send("GET", location)).status == 200


async def test_an_operation_tells_when_it_began_and_ended(slow: Clients) -> None:
    answer = await slow.send("PUT", vm_url(slow, "vm"), vm_request(slow.arm, "vm"))
    url = answer.headers["Azure-AsyncOperation"]
    begun = (await slow.send("GET", url)).body
    assert set(begun) == {"startTime", "status", "name"} and begun["status"] == "InProgress"
    still(slow).advance(60)
    await slow.arm.settled()
    ended = (await slow.send("GET", url)).body
    assert ended["status"] == "Succeeded"
    assert ended["startTime"][:19] == "2023-11-14T22:13:20"
    assert ended["endTime"][:19] == "2023-11-14T22:14:20"


async def test_a_failed_operation_carries_its_error(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.allocation_failed())
    answer = await sdk.send("PUT", vm_url(sdk, "vm"), vm_request(sdk.arm, "vm"))
    await sdk.arm.settled()
    ended = (await sdk.send("GET", answer.headers["Azure-AsyncOperation"])).body
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "AllocationFailed")


async def test_network_operations_say_their_status_alone(sdk: Clients) -> None:
    path = f"{sdk.arm.group_id(GROUP)}/providers/Microsoft.Network/publicIPAddresses/ip"
    url = f"{path}?api-version=2026-03-01"
    answer = await sdk.send("PUT", url, {"location": "westeurope", "properties": {}})
    assert answer.status == 201
    await sdk.arm.settled()
    operation = await sdk.send("GET", answer.headers["Azure-AsyncOperation"])
    assert operation.body == {"status": "Succeeded"}


async def test_an_unknown_operation(sdk: Clients) -> None:
    root = f"/subscriptions/{sdk.arm.subscription}/providers/Microsoft.Compute"
    answer = await sdk.send("GET", f"{root}/locations/westeurope/operations/none?api-version=1")
    assert answer.status == 404


async def test_an_operation_goes_on_when_its_client_gives_up(slow: Clients) -> None:
    poller = await slow.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(slow.arm, "vm")
    )
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(poller.result(), 0.05)
    still(slow).advance(60)
    await slow.arm.settled()
    assert slow.vm("vm").properties["provisioningState"] == "Succeeded"


async def test_an_operation_can_be_watched_after_a_restart(slow: Clients) -> None:
    machines = slow.compute.virtual_machines
    poller = await machines.begin_create_or_update(GROUP, "vm", vm_request(slow.arm, "vm"))
    token = poller.continuation_token()
    assert slow.arm.machines()["vm"].os_profile["customData"] not in token
    nothing: Any = None
    resumed = await machines.begin_create_or_update(GROUP, "vm", nothing, continuation_token=token)
    still(slow).advance(60)
    assert (await resumed.result()).provisioning_state == "Succeeded"


async def test_a_lost_operation_is_not_found(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.operation_lost())
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create("vm")
    assert caught.value.status_code == 404


async def test_the_retry_after_of_operations_can_be_chosen(sdk: Clients) -> None:
    sdk.arm.retry_after = 10
    answer = await sdk.send("PUT", vm_url(sdk, "vm"), vm_request(sdk.arm, "vm"))
    assert answer.headers["Retry-After"] == "10"


async def test_a_fault_makes_one_operation_slow(slow: Clients) -> None:
    slow.arm.faults.add(presets.slow(30, match=presets.of_name("vm")))
    await slow.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(slow.arm, "vm")
    )
    still(slow).advance(89)
    assert slow.arm.operations.on(slow.vm("vm").id) is not None
    still(slow).advance(1)
    await slow.arm.settled()
    assert slow.arm.operations.on(slow.vm("vm").id) is None


async def test_a_subnet_waits_for_its_network(sdk: Clients) -> None:
    sdk.arm.faults.add(presets.slow(3600, "subnets.put"))
    await sdk.network.subnets.begin_create_or_update(
        GROUP, "skyport-eastus", "one", {"properties": {"addressPrefix": "10.66.64.0/24"}}
    )
    with pytest.raises(Exception, match="AnotherOperationInProgress"):
        await sdk.network.subnets.begin_create_or_update(
            GROUP, "skyport-eastus", "two", {"properties": {"addressPrefix": "10.66.65.0/24"}}
        )


def test_recorded_durations_are_drawn_by_kind(azure_data: Path) -> None:
    recorded = Durations.recorded(azure_data)
    creations = [recorded.draw("virtualMachines.put") for _ in range(200)]
    assert min(creations) > 5 and 30 < sorted(creations)[100] < 200
    assert recorded.draw("networkInterfaces.none") == 0


def test_the_endpoint_runs_in_a_thread_for_synchronous_tests() -> None:
    with ArmThread() as thread:
        assert thread.url.startswith("https://localhost:")
        thread.call(thread.arm.quotas.set, "westeurope", "cores", 3)
        assert thread.arm.quotas.limit("westeurope", "cores") == 3
        assert thread.gate_options(regions=["eastus"])["regions"] == ["eastus"]


async def test_a_call_is_matched_by_what_it_asks_for(sdk: Clients) -> None:
    seen: list[Call] = []

    def look(call: Call) -> bool:
        seen.append(call)
        return False

    sdk.arm.faults.add(presets.reset(match=look))
    await sdk.create("vm")
    assert [(call.kind, call.name) for call in seen] == [("virtualMachines.put", "vm")]
