"""What is done to virtual machines that exist: power, eviction, commands, logs."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.clients import GROUP, Clients, code_of, vm_request
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.state import DISK

SPOT: dict[str, Any] = {"priority": "Spot", "evictionPolicy": "Deallocate"}


def null_backend(sdk: Clients) -> NullBackend:
    backend = sdk.arm.backend
    assert isinstance(backend, NullBackend)
    return backend


async def test_a_vm_stops_and_starts(sdk: Clients) -> None:
    machines = sdk.compute.virtual_machines
    await sdk.create("vm")
    await (await machines.begin_deallocate(GROUP, "vm")).result()
    assert await sdk.power("vm") == "deallocated" and null_backend(sdk).running == {}
    assert sdk.arm.resources.list(DISK)[0].properties["diskState"] == "Reserved"
    await (await machines.begin_start(GROUP, "vm")).result()
    assert await sdk.power("vm") == "running"
    await (await machines.begin_power_off(GROUP, "vm")).result()
    assert await sdk.power("vm") == "stopped"


async def test_hibernation_must_have_been_asked_for(sdk: Clients) -> None:
    await sdk.create("vm")
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.virtual_machines.begin_deallocate(GROUP, "vm", hibernate=True)
    assert code_of(caught.value) == "OperationNotAllowed"


async def test_a_hibernated_vm_says_so(sdk: Clients) -> None:
    rows = sdk.arm.sizes.virtual_machines("westeurope")
    size = next(
        row["name"]
        for row in rows
        if {"name": "HibernationSupported", "value": "True"} in row["capabilities"]
    )
    able: dict[str, Any] = {"additionalCapabilities": {"hibernationEnabled": True}}
    await sdk.create("vm", vm_request(sdk.arm, "vm", size=size, **able))
    poller = await sdk.compute.virtual_machines.begin_deallocate(GROUP, "vm", hibernate=True)
    await poller.result()
    view = await sdk.compute.virtual_machines.instance_view(GROUP, "vm")
    assert "HibernationState/Hibernated" in [status.code for status in view.statuses or ()]


@pytest.mark.parametrize("action", ["begin_restart", "begin_redeploy", "begin_reapply"])
async def test_a_vm_runs_on_after(sdk: Clients, action: str) -> None:
    await sdk.create("vm")
    await (await getattr(sdk.compute.virtual_machines, action)(GROUP, "vm")).result()
    assert await sdk.power("vm") == "running"


async def test_one_request_at_a_time(sdk: Clients) -> None:
    null_backend(sdk).hold()
    await sdk.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(sdk.arm, "vm")
    )
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.virtual_machines.begin_restart(GROUP, "vm")
    assert caught.value.status_code == 409


async def test_an_evicted_vm_hears_of_it_and_is_deallocated(sdk: Clients) -> None:
    await sdk.create("vm", vm_request(sdk.arm, "vm", **SPOT))
    await sdk.arm.evict("vm", 0)
    ((name, event),) = null_backend(sdk).events
    assert (name, event["EventType"], event["Resources"]) == ("vm", "Preempt", ["vm"])
    assert await sdk.power("vm") == "deallocated"


async def test_an_eviction_may_delete(sdk: Clients) -> None:
    await sdk.create("vm", vm_request(sdk.arm, "vm", **{**SPOT, "evictionPolicy": "Delete"}))
    await sdk.arm.evict("vm", 0)
    with pytest.raises(ResourceNotFoundError) as caught:
        await sdk.compute.virtual_machines.get(GROUP, "vm")
    assert code_of(caught.value) == "NotFound"
    assert sdk.arm.leftovers() == []


async def test_an_eviction_can_be_simulated(sdk: Clients) -> None:
    sdk.arm.eviction_notice = 0
    await sdk.create("vm", vm_request(sdk.arm, "vm", **SPOT))
    await sdk.compute.virtual_machines.simulate_eviction(GROUP, "vm")
    await sdk.arm.settled()
    assert await sdk.power("vm") == "deallocated"


async def test_a_guest_that_acknowledges_is_evicted_at_once(sdk: Clients) -> None:
    await sdk.create("vm", vm_request(sdk.arm, "vm", **SPOT))
    backend = null_backend(sdk)
    backend.acknowledges = True
    await asyncio.wait_for(sdk.arm.evict("vm", 3600), 5)
    assert await sdk.power("vm") == "deallocated"


async def test_only_spot_vms_can_be_evicted(sdk: Clients) -> None:
    await sdk.create("vm")
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.virtual_machines.simulate_eviction(GROUP, "vm")
    assert code_of(caught.value) == "OperationNotAllowed"


async def test_a_guest_may_switch_itself_off(sdk: Clients) -> None:
    await sdk.create("vm")
    backend = null_backend(sdk)
    assert backend.listener is not None
    backend.listener.powered_off(sdk.arm.machines()["vm"])
    assert await sdk.power("vm") == "stopped"


async def test_the_serial_log_is_served_where_its_uri_says(
    sdk: Clients, endpoint: ArmEndpoint
) -> None:
    on: dict[str, Any] = {"diagnosticsProfile": {"bootDiagnostics": {"enabled": True}}}
    await sdk.create("vm", vm_request(sdk.arm, "vm", **on))
    found = await sdk.compute.virtual_machines.retrieve_boot_diagnostics_data(GROUP, "vm")
    assert found.serial_console_log_blob_uri is not None

    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    async with (
        aiohttp.ClientSession() as session,
        session.get(found.serial_console_log_blob_uri, ssl=context) as answer,
    ):
        assert "vm login:" in await answer.text()


async def test_a_command_has_an_output(sdk: Clients) -> None:
    await sdk.create("vm")
    poller = await sdk.compute.virtual_machines.begin_run_command(
        GROUP, "vm", {"commandId": "RunShellScript", "script": ["uptime"]}
    )
    assert "uptime" in (await poller.result()).value[0].message
