"""Virtual networks, subnets, security groups, NAT gateways, interfaces, public addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Any

from tests.infra.arm import nics
from tests.infra.arm.networks import (
    NAT,
    SECURITY_GROUP,
    Body,
    owner_of,
    plain_body,
    render,
    security_group_body,
    subnet_body,
    subnets,
    users_of,
    vnet_body,
)
from tests.infra.arm.router import Answer, ArmError, Call, Router, page
from tests.infra.arm.state import NETWORK, NIC, PUBLIC_IP, VNET, Arm, Resource

PLACEMENT = "Microsoft.Compute/proximityPlacementGroups"
SUBNET = "{vnet}/subnets/{name}"


def routes(router: Router) -> None:
    """Register the paths of network resources and of proximity placement groups."""
    root = "/subscriptions/{sub}/resourceGroups/{group}/providers"
    for type_ in (VNET, SECURITY_GROUP, NAT, NIC, PUBLIC_IP, PLACEMENT):
        one = f"{root}/{type_}/{{name}}"
        router.add("PUT", one, _put(type_))
        router.add("GET", one, _get(type_))
        router.add("DELETE", one, _delete(type_))
        router.add("GET", f"{root}/{type_}", _list(type_))
        router.add("GET", f"/subscriptions/{{sub}}/providers/{type_}", _list(type_))
    subnet = f"{root}/{VNET}/{SUBNET}"
    router.add("PUT", subnet, put_subnet)
    router.add("GET", subnet, get_subnet)
    router.add("DELETE", subnet, delete_subnet)
    router.add("GET", f"{root}/{VNET}/{{vnet}}/subnets", list_subnets)


Handler = Callable[[Call], Any]


def _find(call: Call, type_: str) -> Resource:
    group = call.params["group"]
    call.arm.require_group(group)
    found = call.arm.resources.get(call.arm.id(group, type_, call.name))
    if found is None:
        raise ArmError(
            404,
            "ResourceNotFound",
            f"The Resource '{type_}/{call.name}' under resource group '{group}' was not found. For "
            "more details please go to https://aka.ms/ARMResourceNotFoundFix",
        )
    return found


def _get(type_: str) -> Handler:
    async def get(call: Call) -> Answer:
        found = _find(call, type_)
        return Answer(200, render(call.arm, found), {"ETag": found.body.get("etag", "")})

    return get


def _list(type_: str) -> Handler:
    async def listed(call: Call) -> Answer:
        group = call.params.get("group")
        if group is not None:
            call.arm.require_group(group)
        found = call.arm.resources.list(type_, group)
        return page(call, [render(call.arm, each) for each in found])

    return listed


def _put(type_: str) -> Handler:
    async def put(call: Call) -> Answer:
        arm, group = call.arm, call.params["group"]
        arm.require_group(group)
        request = call.body or {}
        if not request.get("location"):
            raise ArmError(
                400, "LocationRequired", "The location property is required for this definition."
            )
        resource_id = arm.id(group, type_, call.name)
        old = arm.resources.get(resource_id)
        _check_location(old, request)
        body = _make(arm, type_, resource_id, request, old)
        resource = arm.resources.put(resource_id, body)
        if type_ == PLACEMENT:
            return Answer(200 if old else 201, body)
        answer = render(arm, resource)
        if type_ != NIC:
            answer["properties"]["provisioningState"] = "Updating"
        return _accepted(call, resource, 200 if old else 201, answer)

    return put


def _check_location(old: Resource | None, request: Body) -> None:
    location = request["location"].replace(" ", "").lower()
    if old is not None and old.location != location:
        raise ArmError(
            409,
            "InvalidResourceLocation",
            f"The resource '{old.name}' already exists in location '{old.location}' in resource "
            f"group '{old.group}'. A resource with the same name cannot be created in location "
            f"'{location}'. Please select a new resource name.",
        )


def _make(arm: Arm, type_: str, resource_id: str, request: Body, old: Resource | None) -> Body:
    """The body of a resource that is put, checked."""
    if type_ == VNET:
        return _make_vnet(arm, resource_id, request)
    if type_ == SECURITY_GROUP:
        return security_group_body(resource_id, request)
    if type_ == PUBLIC_IP:
        body = nics.public_body(arm, resource_id, request)
        if old is not None:
            body["properties"]["ipAddress"] = old.properties["ipAddress"]
        return body
    if type_ == NIC:
        return _make_nic(arm, resource_id, request, old)
    if type_ == NAT:
        for each in (request.get("properties") or {}).get("publicIpAddresses") or ():
            _require(arm, each["id"], resource_id)
    return plain_body(resource_id, type_, request)


def _make_nic(arm: Arm, nic_id: str, request: Body, old: Resource | None) -> Body:
    body = nics.nic_body(nic_id, request)
    for each in body["properties"].get("ipConfigurations") or ():
        subnet = (each["properties"].get("subnet") or {}).get("id", "")
        if old is None:
            nics.check_subnet(arm, subnet, body["location"], nic_id)
            each["properties"].setdefault("privateIPAddress", nics.free_address(arm, subnet))
        public = each["properties"].get("publicIPAddress")
        if public:
            _require(arm, public["id"], nic_id)
    if old is not None:
        before = {each["name"]: each for each in old.properties["ipConfigurations"]}
        for each in body["properties"]["ipConfigurations"]:
            known = before.get(each["name"], {}).get("properties", {})
            each["properties"].setdefault("privateIPAddress", known.get("privateIPAddress"))
        if "virtualMachine" in old.properties:
            body["properties"]["virtualMachine"] = old.properties["virtualMachine"]
    return body


def _require(arm: Arm, wanted: str, by: str) -> None:
    if arm.resources.get(wanted) is None:
        raise nics.bad_reference(wanted, by)


def _make_vnet(arm: Arm, vnet_id: str, request: Body) -> Body:
    body = vnet_body(vnet_id, request)
    given = (request.get("properties") or {}).get("subnets")
    if given is not None:
        kept = {each["name"].lower() for each in given}
        for subnet in subnets(arm, vnet_id):
            if subnet.name.lower() not in kept:
                _refuse_used(arm, subnet)
                arm.resources.delete(subnet.id)
        for each in given:
            _store_subnet(arm, f"{vnet_id}/subnets/{each['name']}", each, body)
    return body


def _store_subnet(arm: Arm, subnet_id: str, request: Body, vnet: Body) -> Resource:
    body = subnet_body(subnet_id, request)
    wanted = _ranges(body["properties"])
    space = vnet["properties"]["addressSpace"]["addressPrefixes"]
    if not all(any(_within(each, prefix) for prefix in space) for each in wanted):
        raise ArmError(
            400,
            "NetcfgSubnetRangeOutsideVnet",
            f"Subnet '{body['name']}' is not valid because its IP address range is outside the IP "
            f"address range of virtual network '{vnet['name']}'.",
        )
    for other in subnets(arm, vnet["id"]):
        there = _ranges(other.properties)
        overlap = any(a.overlaps(b) for a in there for b in wanted if a.version == b.version)
        if other.id.lower() != subnet_id.lower() and overlap:
            raise ArmError(
                400,
                "NetcfgSubnetRangesOverlap",
                f"Subnet '{body['name']}' is not valid because its IP address range overlaps with "
                f"that of an existing subnet in virtual network '{vnet['name']}'.",
            )
    for key in ("networkSecurityGroup", "natGateway", "routeTable"):
        if body["properties"].get(key):
            _require(arm, body["properties"][key]["id"], subnet_id)
    return arm.resources.put(subnet_id, body)


def _ranges(properties: Body) -> list[Any]:
    """The address ranges of a subnet."""
    prefixes = properties.get("addressPrefixes") or [properties.get("addressPrefix", "0.0.0.0/0")]
    return [ipaddress.ip_network(prefix) for prefix in prefixes]


def _within(wanted: Any, prefix: str) -> bool:
    there = ipaddress.ip_network(prefix)
    return there.version == wanted.version and bool(wanted.subnet_of(there))


async def put_subnet(call: Call) -> Answer:
    """Make or change a subnet."""
    vnet = _vnet(call)
    _refuse_busy(call, vnet)
    subnet_id = f"{vnet.id}/subnets/{call.name}"
    old = call.arm.resources.get(subnet_id)
    subnet = _store_subnet(call.arm, subnet_id, call.body or {}, vnet.body)
    answer = render(call.arm, subnet)
    answer["properties"]["provisioningState"] = "Updating"
    return _accepted(call, subnet, 200 if old else 201, answer, vnet)


async def get_subnet(call: Call) -> Answer:
    """Show a subnet."""
    subnet_id = f"{_vnet(call).id}/subnets/{call.name}"
    subnet = call.arm.resources.get(subnet_id)
    if subnet is None:
        raise ArmError(404, "NotFound", f"Resource {subnet_id} not found.")
    return Answer(200, render(call.arm, subnet), {"ETag": subnet.body["etag"]})


async def list_subnets(call: Call) -> Answer:
    """List the subnets of a virtual network."""
    found = subnets(call.arm, _vnet(call).id)
    return page(call, [render(call.arm, each) for each in found])


async def delete_subnet(call: Call) -> Answer:
    """Delete a subnet that nothing uses."""
    vnet = _vnet(call)
    subnet = call.arm.resources.get(f"{vnet.id}/subnets/{call.name}")
    if subnet is None:
        return Answer(204)
    _refuse_busy(call, vnet)
    _refuse_used(call.arm, subnet)
    return _deleted(call, subnet, vnet)


def _vnet(call: Call) -> Resource:
    group, name = call.params["group"], call.params["vnet"]
    call.arm.require_group(group)
    vnet = call.arm.resources.get(call.arm.id(group, VNET, name))
    if vnet is None:
        raise ArmError(
            404,
            "ParentResourceNotFound",
            f"Failed to perform '{call.method}' on resource(s) of type "
            "'virtualNetworks/subnets', because the parent resource "
            f"'{call.arm.id(group, VNET, name)}' could not be found.",
        )
    return vnet


def _refuse_busy(call: Call, vnet: Resource) -> None:
    """A virtual network takes one change at a time."""
    running = call.arm.operations.on(vnet.id)
    if running is not None:
        raise ArmError(
            429,
            "AnotherOperationInProgress",
            "Another operation on this or dependent resource is in progress. To retrieve status of "
            f"the operation use uri: {call.base}/subscriptions/{call.arm.subscription}/providers/"
            f"{NETWORK}/locations/{vnet.location}/operations/{running.id}.",
            headers={"Retry-After": "10"},
        )


def _refuse_used(arm: Arm, subnet: Resource) -> None:
    users = nics.inside(arm, subnet.id)
    if users:
        used = users[0].properties["ipConfigurations"][0]["id"]
        raise ArmError(
            400,
            "InUseSubnetCannotBeDeleted",
            f"Subnet {subnet.name} is in use by {used} and cannot be deleted. In order to delete "
            "the subnet, delete all the resources within the subnet. See "
            "aka.ms/deletesubnet.",
        )


def _refuse_deletion(arm: Arm, resource: Resource) -> None:
    """What is in use cannot be deleted."""
    kind = resource.type.lower()
    if kind == NIC.lower() and resource.properties.get("virtualMachine"):
        raise nics.nic_in_use(resource, resource.properties["virtualMachine"]["id"])
    if kind == VNET.lower():
        for subnet in subnets(arm, resource.id):
            _refuse_used(arm, subnet)
    if kind == PUBLIC_IP.lower() and (owner := owner_of(arm, resource.id)):
        raise ArmError(
            400,
            "PublicIPAddressCannotBeDeleted",
            f"Public IP address {resource.id} can not be deleted since it is still allocated to "
            f"resource {owner}. In order to delete the public IP, disassociate/detach the Public "
            "IP address from the resource.",
        )
    users = users_of(arm, resource.id) if kind in (SECURITY_GROUP.lower(), NAT.lower()) else []
    if users:
        code = "InUseNetworkSecurityGroupCannotBeDeleted"
        what = "Network security group"
        if kind == NAT.lower():
            code, what = "InUseNatGatewayCannotBeDeleted", "NAT gateway"
        raise ArmError(
            400,
            code,
            f"{what} {resource.id} cannot be deleted because it is in use by the following "
            f"resources: {users[0].id}.",
        )


def _delete(type_: str) -> Handler:
    async def delete(call: Call) -> Answer:
        arm = call.arm
        arm.require_group(call.params["group"])
        resource = arm.resources.get(arm.id(call.params["group"], type_, call.name))
        if resource is None:
            return Answer(204)
        if type_ == PLACEMENT:
            arm.resources.delete(resource.id)
            return Answer(200)
        _refuse_deletion(arm, resource)
        return _deleted(call, resource, resource)

    return delete


def _deleted(call: Call, resource: Resource, busy: Resource) -> Answer:
    arm = call.arm
    resource.properties["provisioningState"] = "Deleting"

    def finish() -> None:
        for each in arm.resources.below(resource.id):
            arm.resources.delete(each.id)
        arm.resources.delete(resource.id)

    operation = arm.operations.start(call, busy.id, busy.location, finish=finish, provider=NETWORK)
    return Answer(202, None, arm.operations.headers(operation, call))


def _accepted(
    call: Call, resource: Resource, status: int, answer: Body, busy: Resource | None = None
) -> Answer:
    """The answer of a PUT; ``busy`` is the resource that the operation occupies."""
    whole = busy or resource
    resource.properties["provisioningState"] = answer["properties"]["provisioningState"]

    def finish() -> None:
        resource.properties["provisioningState"] = "Succeeded"

    def fail(error: Body) -> None:
        resource.properties["provisioningState"] = "Failed"

    operation = call.arm.operations.start(
        call, whole.id, whole.location, finish=finish, fail=fail, provider=NETWORK
    )
    return Answer(status, answer, call.arm.operations.headers(operation, call, style="async"))
