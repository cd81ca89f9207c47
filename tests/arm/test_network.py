"""Network resources of the ARM endpoint, seen through the real SDK."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.infra.arm.clients import GROUP, Clients, code_of, subnet_id, vm_request

REGION = "westeurope"


def security_group(sdk: Clients) -> str:
    return sdk.arm.id(GROUP, "Microsoft.Network/networkSecurityGroups", f"skyport-{REGION}")


async def make_nic(sdk: Clients, name: str, **properties: Any) -> Any:
    address = {"name": "ip", "properties": {"subnet": {"id": subnet_id(sdk.arm)}, **properties}}
    poller = await sdk.network.network_interfaces.begin_create_or_update(
        GROUP, name, {"location": REGION, "properties": {"ipConfigurations": [address]}}
    )
    return await poller.result()


async def make_public(sdk: Clients, name: str) -> Any:
    poller = await sdk.network.public_ip_addresses.begin_create_or_update(
        GROUP, name, {"location": REGION, "sku": {"name": "Standard"}, "properties": {}}
    )
    return await poller.result()


async def test_a_nic_gets_an_address_of_its_subnet(sdk: Clients) -> None:
    first, second = await make_nic(sdk, "one"), await make_nic(sdk, "two")
    assert first.ip_configurations[0].private_ip_address == "10.64.0.4"
    assert second.ip_configurations[0].private_ip_address == "10.64.0.5"


async def test_a_vm_takes_a_nic_that_is_there(sdk: Clients) -> None:
    nic = await make_nic(sdk, "nic")
    network = {
        "networkApiVersion": None,
        "networkInterfaceConfigurations": None,
        "networkInterfaces": [{"id": nic.id}],
    }
    await sdk.create("vm", vm_request(sdk.arm, "vm", networkProfile=network))
    with pytest.raises(HttpResponseError) as caught:
        await sdk.network.network_interfaces.begin_delete(GROUP, "nic")
    assert (caught.value.status_code, code_of(caught.value)) == (400, "NicInUse")
    with pytest.raises(HttpResponseError, match="NicInUse"):
        await sdk.create("other", vm_request(sdk.arm, "other", networkProfile=network))
    await sdk.delete("vm")
    await (await sdk.network.network_interfaces.begin_delete(GROUP, "nic")).result()
    assert sdk.arm.leftovers() == []


async def test_a_public_address_in_use_stays(sdk: Clients) -> None:
    public = await make_public(sdk, "public")
    await make_nic(sdk, "nic", publicIPAddress={"id": public.id})
    with pytest.raises(HttpResponseError, match="PublicIPAddressCannotBeDeleted"):
        await sdk.network.public_ip_addresses.begin_delete(GROUP, "public")
    await (await sdk.network.network_interfaces.begin_delete(GROUP, "nic")).result()
    await (await sdk.network.public_ip_addresses.begin_delete(GROUP, "public")).result()
    assert sdk.arm.leftovers() == []


async def test_a_subnet_in_use_stays(sdk: Clients) -> None:
    await sdk.create("vm")
    for deletion in (
        sdk.network.subnets.begin_delete(GROUP, f"skyport-{REGION}", "nodes"),
        sdk.network.virtual_networks.begin_delete(GROUP, f"skyport-{REGION}"),
    ):
        with pytest.raises(HttpResponseError, match="InUseSubnetCannotBeDeleted"):
            await deletion


async def test_a_network_is_made_with_its_subnets(sdk: Clients) -> None:
    body = {
        "location": REGION,
        "properties": {
            "addressSpace": {"addressPrefixes": ["10.9.0.0/16"]},
            "subnets": [{"name": "a", "properties": {"addressPrefix": "10.9.1.0/24"}}],
        },
    }
    networks = sdk.network.virtual_networks
    poller = await networks.begin_create_or_update(GROUP, "mine", body)
    made = await poller.result()
    assert made.provisioning_state == "Succeeded"
    assert [each.name for each in made.subnets] == ["a"]
    await (await networks.begin_delete(GROUP, "mine")).result()
    with pytest.raises(ResourceNotFoundError):
        await networks.get(GROUP, "mine")


@pytest.mark.parametrize(
    ("prefix", "code"),
    [
        ("10.200.0.0/24", "NetcfgSubnetRangeOutsideVnet"),
        ("10.64.1.0/24", "NetcfgSubnetRangesOverlap"),
    ],
)
async def test_a_subnet_must_fit(sdk: Clients, prefix: str, code: str) -> None:
    with pytest.raises(HttpResponseError) as caught:
        await sdk.network.subnets.begin_create_or_update(
            GROUP, f"skyport-{REGION}", "other", {"properties": {"addressPrefix": prefix}}
        )
    assert (caught.value.status_code, code_of(caught.value)) == (400, code)


async def test_a_full_subnet_takes_no_more(sdk: Clients) -> None:
    poller = await sdk.network.subnets.begin_create_or_update(
        GROUP, f"skyport-{REGION}", "tiny", {"properties": {"addressPrefix": "10.64.64.0/29"}}
    )
    tiny = (await poller.result()).id
    for number in range(3):
        await sdk.create(f"vm{number}", vm_request(sdk.arm, f"vm{number}", subnet=tiny))
    with pytest.raises(HttpResponseError, match="SubnetIsFull"):
        await sdk.create("vm3", vm_request(sdk.arm, "vm3", subnet=tiny))


async def test_a_security_group_tells_who_uses_it(sdk: Clients) -> None:
    groups = sdk.network.network_security_groups
    group = await groups.get(GROUP, f"skyport-{REGION}")
    assert [each.id for each in group.subnets] == [subnet_id(sdk.arm)]
    assert len(group.default_security_rules) == 6
    with pytest.raises(HttpResponseError, match="InUseNetworkSecurityGroupCannotBeDeleted"):
        await groups.begin_delete(GROUP, f"skyport-{REGION}")


async def test_a_nat_gateway_serves_a_subnet(sdk: Clients) -> None:
    public = await make_public(sdk, "out")
    body = {
        "location": REGION,
        "sku": {"name": "Standard"},
        "properties": {"publicIpAddresses": [{"id": public.id}]},
    }
    gateways = sdk.network.nat_gateways
    gateway = await (await gateways.begin_create_or_update(GROUP, "nat", body)).result()
    subnet = {
        "addressPrefix": "10.64.0.0/18",
        "networkSecurityGroup": {"id": security_group(sdk)},
        "natGateway": {"id": gateway.id},
    }
    poller = await sdk.network.subnets.begin_create_or_update(
        GROUP, f"skyport-{REGION}", "nodes", {"properties": subnet}
    )
    assert (await poller.result()).nat_gateway.id == gateway.id
    assert [each.id for each in (await gateways.get(GROUP, "nat")).subnets] == [subnet_id(sdk.arm)]
    with pytest.raises(HttpResponseError, match="InUseNatGateway"):
        await gateways.begin_delete(GROUP, "nat")


async def test_a_reference_to_nothing_is_refused(sdk: Clients) -> None:
    subnet = {
        "addressPrefix": "10.64.64.0/24",
        "networkSecurityGroup": {"id": f"{security_group(sdk)}-none"},
    }
    with pytest.raises(HttpResponseError, match="InvalidResourceReference"):
        await sdk.network.subnets.begin_create_or_update(
            GROUP, f"skyport-{REGION}", "other", {"properties": subnet}
        )


async def test_a_proximity_placement_group_comes_and_goes_at_once(sdk: Clients) -> None:
    groups = sdk.compute.proximity_placement_groups
    body = {"location": REGION, "properties": {"proximityPlacementGroupType": "Standard"}}
    made = await groups.create_or_update(GROUP, "near", body)
    assert made.proximity_placement_group_type == "Standard"
    assert [each.name async for each in groups.list_by_resource_group(GROUP)] == ["near"]
    await groups.delete(GROUP, "near")
    with pytest.raises(ResourceNotFoundError):
        await groups.get(GROUP, "near")
