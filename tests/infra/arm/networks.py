"""The bodies of network resources as Azure shows them, with what refers to them."""

from __future__ import annotations

import copy
import uuid
from typing import Any

from tests.infra.arm import nics
from tests.infra.arm.state import NETWORK, NIC, PUBLIC_IP, VNET, Arm, Resource

SECURITY_GROUP = f"{NETWORK}/networkSecurityGroups"
NAT = f"{NETWORK}/natGateways"

Body = dict[str, Any]


def plain_body(resource_id: str, type_: str, request: Body, **more: Any) -> Body:
    """A network resource as Azure shows it."""
    properties = {"provisioningState": "Succeeded", "resourceGuid": str(uuid.uuid4())}
    properties |= copy.deepcopy(request.get("properties") or {}) | more
    properties["provisioningState"] = "Succeeded"
    body = {
        "name": resource_id.rsplit("/", 1)[-1],
        "id": resource_id,
        "etag": f'W/"{uuid.uuid4()}"',
        "type": type_,
        "location": request["location"].replace(" ", "").lower(),
        "properties": properties,
    }
    for key in ("tags", "sku", "zones"):
        if request.get(key):
            body[key] = copy.deepcopy(request[key])
    return body


def vnet_body(vnet_id: str, request: Body) -> Body:
    """A virtual network as Azure shows it, without its subnets."""
    body = plain_body(vnet_id, VNET, request)
    properties = body["properties"]
    properties.pop("subnets", None)
    properties.setdefault("virtualNetworkPeerings", [])
    properties.setdefault("enableDdosProtection", False)
    return body


def subnet_body(subnet_id: str, request: Body) -> Body:
    """A subnet as Azure shows it."""
    properties = copy.deepcopy(request.get("properties") or {})
    properties.setdefault("delegations", [])
    properties.setdefault("privateEndpointNetworkPolicies", "Disabled")
    properties.setdefault("privateLinkServiceNetworkPolicies", "Enabled")
    properties["provisioningState"] = "Succeeded"
    prefixes = properties.get("addressPrefixes")
    if prefixes and len(prefixes) == 1 and "addressPrefix" not in properties:
        properties["addressPrefix"] = prefixes[0]
    return {
        "name": subnet_id.rsplit("/", 1)[-1],
        "id": subnet_id,
        "etag": f'W/"{uuid.uuid4()}"',
        "type": f"{VNET}/subnets",
        "properties": properties,
    }


def security_group_body(group_id: str, request: Body) -> Body:
    """A network security group as Azure shows it, with the rules that all have."""
    body = plain_body(group_id, SECURITY_GROUP, request)
    properties = body["properties"]
    for rule in properties.setdefault("securityRules", []):
        rule["id"] = f"{group_id}/securityRules/{rule['name']}"
        rule["type"] = f"{SECURITY_GROUP}/securityRules"
        rule.setdefault("properties", {})["provisioningState"] = "Succeeded"
    properties["defaultSecurityRules"] = [
        _default_rule(group_id, *rule)
        for rule in (
            ("AllowVnetInBound", 65000, "Inbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
            ("AllowAzureLoadBalancerInBound", 65001, "Inbound", "Allow", "AzureLoadBalancer", "*"),
            ("DenyAllInBound", 65500, "Inbound", "Deny", "*", "*"),
            ("AllowVnetOutBound", 65000, "Outbound", "Allow", "VirtualNetwork", "VirtualNetwork"),
            ("AllowInternetOutBound", 65001, "Outbound", "Allow", "*", "Internet"),
            ("DenyAllOutBound", 65500, "Outbound", "Deny", "*", "*"),
        )
    ]
    return body


def _default_rule(
    group_id: str, name: str, priority: int, direction: str, access: str, source: str, target: str
) -> Body:
    return {
        "name": name,
        "id": f"{group_id}/defaultSecurityRules/{name}",
        "type": f"{SECURITY_GROUP}/defaultSecurityRules",
        "properties": {
            "provisioningState": "Succeeded",
            "protocol": "*",
            "sourcePortRange": "*",
            "destinationPortRange": "*",
            "sourceAddressPrefix": source,
            "destinationAddressPrefix": target,
            "access": access,
            "priority": priority,
            "direction": direction,
        },
    }


def render(arm: Arm, resource: Resource) -> Body:
    """A resource with what refers to it."""
    body = copy.deepcopy(resource.body)
    properties = body["properties"]
    if resource.type.lower() == VNET.lower():
        properties["subnets"] = [render(arm, each) for each in subnets(arm, resource.id)]
    elif resource.type.lower() == f"{VNET}/subnets".lower():
        found = [
            {"id": each["id"]}
            for nic in nics.inside(arm, resource.id)
            for each in nic.properties["ipConfigurations"]
        ]
        if found:
            properties["ipConfigurations"] = found
    elif resource.type.lower() in (SECURITY_GROUP.lower(), NAT.lower()):
        users = users_of(arm, resource.id)
        if users:
            properties["subnets"] = [{"id": each.id} for each in users]
    elif resource.type.lower() == PUBLIC_IP.lower():
        owner = owner_of(arm, resource.id)
        if owner:
            properties["ipConfiguration"] = {"id": owner}
    return body


def subnets(arm: Arm, vnet_id: str) -> list[Resource]:
    """The subnets of a virtual network."""
    return [each for each in arm.resources.below(vnet_id) if each.type.endswith("/subnets")]


def users_of(arm: Arm, resource_id: str) -> list[Resource]:
    """The subnets that use a security group or a NAT gateway."""
    wanted = resource_id.lower()
    return [
        each
        for each in arm.resources
        if each.type.lower() == f"{VNET}/subnets".lower()
        and any(
            (each.properties.get(key) or {}).get("id", "").lower() == wanted
            for key in ("networkSecurityGroup", "natGateway")
        )
    ]


def owner_of(arm: Arm, public_id: str) -> str:
    """The id of the IP configuration that has a public address; "" for none."""
    for nic in arm.resources.list(NIC):
        for each in nic.properties.get("ipConfigurations", ()):
            public = (each["properties"].get("publicIPAddress") or {}).get("id", "")
            if public.lower() == public_id.lower():
                return str(each["id"])
    return ""
