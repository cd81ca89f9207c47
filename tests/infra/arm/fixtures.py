"""What a subscription has after setup: a resource group and a network in each region."""

from __future__ import annotations

from tests.infra.arm.networks import (
    SECURITY_GROUP,
    security_group_body,
    subnet_body,
    vnet_body,
)
from tests.infra.arm.state import VNET, Arm

GROUP = "skyport"


def furnish(arm: Arm, group: str = GROUP) -> None:
    """Make the resource group, and in each region network, subnet and security group."""
    arm.resources.put(
        arm.group_id(group),
        {
            "id": arm.group_id(group),
            "name": group,
            "type": "Microsoft.Resources/resourceGroups",
            "location": arm.regions[0],
            "tags": {},
            "properties": {"provisioningState": "Succeeded"},
        },
    )
    for number, region in enumerate(arm.regions):
        make_network(arm, group, region, f"10.{64 + number}")


def make_network(arm: Arm, group: str, region: str, prefix: str) -> str:
    """Make the network of a region, 65,536 addresses from ``prefix``; the subnet's id."""
    name = f"skyport-{region}"
    security = arm.id(group, SECURITY_GROUP, name)
    request = {"location": region, "properties": {"securityRules": []}}
    arm.resources.put(security, security_group_body(security, request))
    vnet = arm.id(group, VNET, name)
    space = {"addressSpace": {"addressPrefixes": [f"{prefix}.0.0/16"]}}
    arm.resources.put(vnet, vnet_body(vnet, {"location": region, "properties": space}))
    subnet = f"{vnet}/subnets/nodes"
    properties = {"addressPrefix": f"{prefix}.0.0/18", "networkSecurityGroup": {"id": security}}
    arm.resources.put(subnet, subnet_body(subnet, {"properties": properties}))
    return subnet
