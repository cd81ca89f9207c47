"""Virtual machines of the ARM endpoint, seen through the real SDK."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.clients import GROUP, Clients, code_of, subnet_id, vm_request
from tests.infra.arm.state import DISK, NIC, PUBLIC_IP, VM, VNET
from tests.infra.arm.vm import is_ephemeral

SPOT: dict[str, Any] = {
    "priority": "Spot",
    "evictionPolicy": "Deallocate",
    "billingProfile": {"maxPrice": -1},
}
EPHEMERAL: dict[str, Any] = {
    "storageProfile": {
        "osDisk": {
            "caching": "ReadOnly",
            "diffDiskSettings": {"option": "Local", "placement": "ResourceDisk"},
            "managedDisk": {"storageAccountType": "Standard_LRS"},
        }
    }
}


def null_backend(sdk: Clients) -> NullBackend:
    backend = sdk.arm.backend
    assert isinstance(backend, NullBackend)
    return backend


async def refusal(sdk: Clients, name: str, body: dict[str, Any]) -> HttpResponseError:
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create(name, body)
    return caught.value


def ephemeral_size(sdk: Clients) -> str:
    for row in sdk.arm.sizes.virtual_machines("westeurope"):
        facts = {each["name"]: each["value"] for each in row["capabilities"]}
        room = int(facts.get("MaxResourceVolumeMB", 0))
        closed = row["restrictions"] or facts["CpuArchitectureType"] != "x64"
        if facts.get("EphemeralOSDiskSupported") == "True" and room > 30_720 and not closed:
            return str(row["name"])
    raise LookupError("no size has room for an ephemeral disk")


def size_without(sdk: Clients, capability: str) -> str:
    for row in sdk.arm.sizes.virtual_machines("westeurope"):
        facts = {each["name"]: each["value"] for each in row["capabilities"]}
        if facts.get(capability, "False") == "False" and not row["restrictions"]:
            return str(row["name"])
    raise LookupError(f"every size has {capability}")


async def test_a_new_vm_is_creating_at_first_and_running_when_its_operation_ends(
    sdk: Clients,
) -> None:
    null_backend(sdk).hold()
    poller = await sdk.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(sdk.arm, "vm")
    )
    vm = await sdk.compute.virtual_machines.get(GROUP, "vm")
    assert vm.provisioning_state == "Creating"
    null_backend(sdk).release()
    assert (await poller.result()).provisioning_state == "Succeeded"
    assert await sdk.power("vm") == "running"


async def test_it_has_a_nic_with_the_address_of_the_backend_while_it_still_boots(
    sdk: Clients,
) -> None:
    null_backend(sdk).hold()
    await sdk.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(sdk.arm, "vm")
    )
    vm = await sdk.compute.virtual_machines.get(GROUP, "vm")
    name = vm["properties"]["networkProfile"]["networkInterfaces"][0]["id"].rsplit("/", 1)[-1]
    nic = await sdk.network.network_interfaces.get(GROUP, name)
    assert nic.ip_configurations[0].private_ip_address == sdk.arm.machines()["vm"].address != ""
    assert nic["properties"]["virtualMachine"]["id"] == vm.id


async def test_no_answer_repeats_the_secrets_of_a_vm(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm", userData="dXNlcg==")
    one = f"{sdk.arm.id(GROUP, VM, 'vm')}?api-version=2026-04-01"
    made = await sdk.send("PUT", one, body)
    await sdk.arm.settled()
    shown = await sdk.send("GET", f"{one}&$expand=instanceView")
    everything = f"/subscriptions/{sdk.arm.subscription}/providers/{VM}"
    listed = await sdk.send("GET", f"{everything}?api-version=2026-04-01&statusOnly=true")
    for secret in ("not-a-secret-1", body["properties"]["osProfile"]["customData"], "dXNlcg=="):
        assert all(secret not in json.dumps(answer.body) for answer in (made, shown, listed))


async def test_user_data_is_shown_when_asked_for(sdk: Clients) -> None:
    await sdk.create("vm", vm_request(sdk.arm, "vm", userData="dXNlcg=="))
    vm = await sdk.compute.virtual_machines.get(GROUP, "vm", expand="userData")
    assert vm["properties"]["userData"] == "dXNlcg=="


async def test_what_a_vm_is_told_reaches_its_backend(sdk: Clients) -> None:
    await sdk.create("vm")
    machine = sdk.arm.machines()["vm"]
    assert machine.custom_data == b"#cloud-config\n"
    assert (machine.admin_username, machine.size) == ("alice", "Standard_D2s_v5")
    assert machine.tags == {"skyport-core": "tests"}


async def test_deletion_takes_along_what_has_the_delete_option(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm")
    inline = body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]
    inline["properties"]["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"] = {
        "name": "public",
        "sku": {"name": "Standard"},
        "properties": {"deleteOption": "Delete", "publicIPAllocationMethod": "Static"},
    }
    await sdk.create("vm", body)
    assert len(sdk.arm.leftovers()) == 4
    await sdk.delete("vm")
    assert sdk.arm.leftovers() == []


async def test_deletion_leaves_what_has_no_delete_option(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm")
    del body["properties"]["storageProfile"]["osDisk"]["deleteOption"]
    inline = body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]
    del inline["properties"]["deleteOption"]
    await sdk.create("vm", body)
    await sdk.delete("vm")
    assert [each.type for each in sdk.arm.resources.list(DISK)] == [DISK]
    assert [each.type for each in sdk.arm.resources.list(NIC)] == [NIC]
    assert sdk.arm.resources.list(DISK)[0].properties["diskState"] == "Unattached"


async def test_deleting_what_is_not_there_is_fine(sdk: Clients) -> None:
    await sdk.delete("nothing")
    assert sdk.arm.calls.of("virtualMachines.delete")[-1].status == 204


async def test_a_deletion_preempts_the_creation(sdk: Clients) -> None:
    null_backend(sdk).hold()
    poller = await sdk.compute.virtual_machines.begin_create_or_update(
        GROUP, "vm", vm_request(sdk.arm, "vm")
    )
    await sdk.delete("vm")
    with pytest.raises(HttpResponseError) as caught:
        await poller.result()
    assert code_of(caught.value) == "OperationPreempted"
    assert sdk.arm.leftovers() == [] and null_backend(sdk).running == {}


async def test_paths_may_have_any_case(sdk: Clients) -> None:
    await sdk.create("Vm-One")
    vm = await sdk.compute.virtual_machines.get("SkyPort", "vM-oNE")
    assert vm.name == "Vm-One"


async def test_lists_come_in_pages(sdk: Clients) -> None:
    sdk.arm.page_size = 2
    await asyncio.gather(*(sdk.create(f"vm{n}") for n in range(5)))
    names = {each.name async for each in sdk.compute.virtual_machines.list(GROUP)}
    assert names == {f"vm{n}" for n in range(5)}
    assert sdk.arm.calls.count("virtualMachines.list") == 3


async def test_a_status_list_tells_how_each_vm_is(sdk: Clients) -> None:
    await sdk.create("vm")
    (vm,) = [each async for each in sdk.compute.virtual_machines.list_all(status_only="true")]
    codes = [status.code for status in vm.instance_view.statuses]
    assert codes == ["ProvisioningState/succeeded", "PowerState/running"]


async def test_the_same_put_again_changes_nothing(sdk: Clients) -> None:
    before = await sdk.create("vm")
    again = await sdk.create("vm")
    assert again.vm_id == before.vm_id
    assert len(sdk.arm.resources.list(NIC)) == 1
    assert [each.status for each in sdk.arm.calls.of("virtualMachines.put")] == [201, 200]


async def test_a_put_that_must_make_a_new_vm_is_refused_when_it_exists(sdk: Clients) -> None:
    await sdk.create("vm")
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.virtual_machines.begin_create_or_update(
            GROUP,
            "vm",
            vm_request(sdk.arm, "vm"),
            etag="*",
            match_condition=MatchConditions.IfMissing,
        )
    assert caught.value.status_code == 412


async def test_custom_data_cannot_be_changed(sdk: Clients) -> None:
    await sdk.create("vm")
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm", osProfile={"customData": "bmV3"}))
    assert (error.status_code, code_of(error)) == (409, "PropertyChangeNotAllowed")


async def test_tags_can_be_changed(sdk: Clients) -> None:
    await sdk.create("vm")
    poller = await sdk.compute.virtual_machines.begin_update(GROUP, "vm", {"tags": {"job": "7"}})
    assert (await poller.result()).tags == {"job": "7"}


@pytest.mark.parametrize(
    ("properties", "status", "code"),
    [
        ({"hardwareProfile": {"vmSize": "Standard_None"}}, 400, "InvalidParameter"),
        ({"osProfile": {"adminUsername": "root"}}, 400, "InvalidParameter"),
        ({"osProfile": {"adminPassword": None}}, 400, "InvalidParameter"),
        ({"osProfile": {"customData": "A" * 87_384}}, 400, "InvalidParameter"),
        ({"osProfile": {"computerName": "under_score"}}, 400, "InvalidParameter"),
        ({"networkProfile": {"networkApiVersion": None}}, 400, "InvalidParameter"),
        ({"networkProfile": None}, 400, "InvalidParameter"),
        ({"evictionPolicy": "Delete"}, 400, "InvalidParameter"),
        ({**SPOT, "billingProfile": {"maxPrice": 0.000001}}, 409, "OperationNotAllowed"),
        (
            {"storageProfile": {"imageReference": {"sku": "none"}}},
            404,
            "PlatformImageNotFound",
        ),
    ],
)
async def test_what_azure_refuses(
    sdk: Clients, properties: dict[str, Any], status: int, code: str
) -> None:
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm", **properties))
    assert (error.status_code, code_of(error)) == (status, code)
    assert sdk.arm.leftovers() == []


async def test_a_name_that_azure_does_not_take(sdk: Clients) -> None:
    error = await refusal(sdk, "-vm", vm_request(sdk.arm, "vm"))
    assert code_of(error) == "InvalidParameter"


async def test_an_unknown_group(sdk: Clients) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        await sdk.compute.virtual_machines.get("elsewhere", "vm")
    assert code_of(caught.value) == "ResourceGroupNotFound"


async def test_an_unknown_vm(sdk: Clients) -> None:
    with pytest.raises(ResourceNotFoundError) as caught:
        await sdk.compute.virtual_machines.get(GROUP, "vm")
    assert code_of(caught.value) == "ResourceNotFound"


async def test_a_subnet_that_is_not_there(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm", subnet=subnet_id(sdk.arm) + "-none")
    assert code_of(await refusal(sdk, "vm", body)) == "InvalidResourceReference"


async def test_a_subnet_of_another_region(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm", subnet=subnet_id(sdk.arm, "eastus"))
    assert code_of(await refusal(sdk, "vm", body)) == "InvalidResourceReference"


async def test_a_region_that_is_not_the_vms(sdk: Clients) -> None:
    await sdk.create("vm")
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm", region="eastus"))
    assert (error.status_code, code_of(error)) == (409, "InvalidResourceLocation")


async def test_a_size_that_is_closed_to_the_subscription(sdk: Clients) -> None:
    rows = sdk.arm.sizes.virtual_machines("westeurope")
    row = next(each for each in rows if each["name"] == "Standard_D2s_v5")
    row["restrictions"] = [
        {"type": "Location", "values": ["westeurope"], "reasonCode": "NotAvailableForSubscription"}
    ]
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm"))
    assert (error.status_code, code_of(error)) == (409, "SkuNotAvailable")


async def test_a_zone_that_the_size_is_not_in(sdk: Clients) -> None:
    body = {**vm_request(sdk.arm, "vm"), "zones": ["7"]}
    assert code_of(await refusal(sdk, "vm", body)) == "AvailabilityZoneNotSupported"


async def test_a_family_at_its_limit(sdk: Clients) -> None:
    row = sdk.arm.sizes.sku("westeurope", "Standard_D2s_v5")
    assert row is not None
    sdk.arm.quotas.set("westeurope", row["family"], 2)
    await sdk.create("vm1")
    error = await refusal(sdk, "vm2", vm_request(sdk.arm, "vm2"))
    assert (error.status_code, code_of(error)) == (409, "OperationNotAllowed")
    assert f"exceeding approved {row['family']} Cores quota" in str(error.message)
    await sdk.delete("vm1")
    await sdk.create("vm2")


async def test_spot_has_a_limit_of_its_own(sdk: Clients) -> None:
    sdk.arm.quotas.set("westeurope", "lowPriorityCores", 1)
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm", **SPOT))
    assert "LowPriorityCores quota" in str(error.message)
    await sdk.create("vm")


async def test_usages_move_with_the_vms(sdk: Clients) -> None:
    await sdk.create("vm")
    used = {u.name.value: u.current_value async for u in sdk.compute.usage.list("westeurope")}
    assert (used["cores"], used["virtualMachines"]) == (2, 1)


async def test_an_ephemeral_vm_has_no_disk_and_cannot_be_deallocated(sdk: Clients) -> None:
    body = vm_request(sdk.arm, "vm", size=ephemeral_size(sdk), **EPHEMERAL)
    await sdk.create("vm", body)
    assert is_ephemeral(sdk.vm("vm").body) and sdk.arm.resources.list(DISK) == []
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.virtual_machines.begin_deallocate(GROUP, "vm")
    assert code_of(caught.value) == "OperationNotAllowed"


async def test_a_size_without_room_for_an_ephemeral_disk(sdk: Clients) -> None:
    size = size_without(sdk, "EphemeralOSDiskSupported")
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm", size=size, **EPHEMERAL))
    assert code_of(error) == "NotSupported"


async def test_a_failed_boot_leaves_the_vm_failed_with_its_nic(sdk: Clients) -> None:
    null_backend(sdk).fail_boot("vm")
    error = await refusal(sdk, "vm", vm_request(sdk.arm, "vm"))
    assert code_of(error) == "OSProvisioningTimedOut"
    vm = await sdk.compute.virtual_machines.get(GROUP, "vm", expand="instanceView")
    assert vm.provisioning_state == "Failed"
    first = vm.instance_view.statuses[0]
    assert first.code == "ProvisioningState/failed/OSProvisioningTimedOut"
    assert len(sdk.arm.resources.list(NIC)) == 1
    await sdk.delete("vm")
    assert sdk.arm.leftovers() == []


async def test_an_attached_disk_cannot_be_deleted(sdk: Clients) -> None:
    await sdk.create("vm")
    (disk,) = [each async for each in sdk.compute.disks.list()]
    assert disk.name.startswith("vm_OsDisk_1_") and disk.managed_by == sdk.vm("vm").id
    with pytest.raises(HttpResponseError) as caught:
        await sdk.compute.disks.begin_delete(GROUP, disk.name)
    assert code_of(caught.value) == "OperationNotAllowed"


async def test_data_disks_come_and_go_with_the_vm(sdk: Clients) -> None:
    storage: dict[str, Any] = {
        "dataDisks": [
            {"lun": 0, "createOption": "Empty", "diskSizeGB": 64, "deleteOption": "Delete"}
        ]
    }
    await sdk.create("vm", vm_request(sdk.arm, "vm", storageProfile=storage))
    assert sorted(each.properties["diskSizeGB"] for each in sdk.arm.resources.list(DISK)) == [
        30,
        64,
    ]
    await sdk.delete("vm")
    assert sdk.arm.leftovers() == []


async def test_calls_are_counted_for_each_vm(sdk: Clients) -> None:
    await sdk.create("vm1")
    await sdk.create("vm2")
    assert [each async for each in sdk.compute.virtual_machines.list_all()]
    counted = sdk.arm.calls.by_vm()
    assert counted["vm1"] == counted["vm2"] >= 3  # PUT, its operation, GET
    assert sdk.arm.calls.shared()["virtualMachines.listAll"] == 1


async def test_public_addresses_can_be_those_of_the_machines(sdk: Clients) -> None:
    sdk.arm.public_addresses_reachable = True
    body = vm_request(sdk.arm, "vm")
    inline = body["properties"]["networkProfile"]["networkInterfaceConfigurations"][0]
    inline["properties"]["ipConfigurations"][0]["properties"]["publicIPAddressConfiguration"] = {
        "name": "public",
        "properties": {"deleteOption": "Delete"},
    }
    await sdk.create("vm", body)
    (public,) = [each async for each in sdk.network.public_ip_addresses.list(GROUP)]
    assert public.ip_address == sdk.arm.machines()["vm"].address
    assert sdk.arm.resources.list(PUBLIC_IP)[0].hidden["vm"] == "vm"


async def test_the_furnished_network_is_there(sdk: Clients) -> None:
    names = {each.name async for each in sdk.network.virtual_networks.list(GROUP)}
    assert names == {f"skyport-{region}" for region in sdk.arm.regions}
    assert all(each.type == VNET for each in sdk.arm.resources.list(VNET))
