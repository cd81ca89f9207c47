"""Network interfaces of virtual machines: made with them, given an address, freed with them."""

from __future__ import annotations

import copy
import ipaddress
import uuid
from typing import Any

from tests.infra.arm.router import ArmError
from tests.infra.arm.state import NIC, PUBLIC_IP, Arm, Resource

_RESERVED = 5  # addresses that Azure keeps in each subnet


def check_profile(arm: Arm, name: str, request: dict[str, Any]) -> None:
    """Whether the networks and interfaces that a VM asks for are there and free."""
    profile = request["properties"].get("networkProfile") or {}
    inline = profile.get("networkInterfaceConfigurations") or []
    if not inline and not profile.get("networkInterfaces"):
        raise _missing("networkProfile")
    if inline and not profile.get("networkApiVersion"):
        raise _missing("networkApiVersion")
    region = request["location"].replace(" ", "").lower()
    for configuration in inline:
        for each in configuration["properties"].get("ipConfigurations") or ():
            subnet = (each["properties"].get("subnet") or {}).get("id", "")
            check_subnet(arm, subnet, region, arm.id("", NIC, configuration["name"]))
    for reference in profile.get("networkInterfaces") or ():
        nic = arm.resources.get(reference["id"])
        if nic is None:
            raise ArmError(404, "NotFound", f"Resource {reference['id']} not found.")
        owner = nic.properties.get("virtualMachine")
        if owner:
            raise nic_in_use(nic, owner["id"])


def _missing(name: str) -> ArmError:
    return ArmError(
        400, "InvalidParameter", f"Required parameter '{name}' is missing (null).", name
    )


def nic_in_use(nic: Resource, owner: str) -> ArmError:
    """NicInUse."""
    return ArmError(
        400,
        "NicInUse",
        f"Network Interface {nic.id} is used by existing resource {owner}. In order to delete the "
        "network interface, it must be dissociated from the resource. To learn more, see "
        "aka.ms/deletenic.",
    )


def bad_reference(wanted: str, by: str) -> ArmError:
    """InvalidResourceReference."""
    return ArmError(
        400,
        "InvalidResourceReference",
        f"Resource {wanted} referenced by resource {by} was not found. Please make sure that the "
        "referenced resource exists, and that both resources are in the same region.",
    )


def check_subnet(arm: Arm, subnet_id: str, region: str, by: str) -> None:
    """Whether an interface can be made in a subnet."""
    subnet = arm.resources.get(subnet_id)
    vnet = arm.resources.get(subnet_id.rsplit("/subnets/", 1)[0])
    if subnet is None or vnet is None or vnet.location != region:
        raise bad_reference(subnet_id, by)
    prefixes = subnet.properties.get("addressPrefixes") or [subnet.properties["addressPrefix"]]
    room = ipaddress.ip_network(prefixes[0]).num_addresses - _RESERVED
    if len(inside(arm, subnet_id)) >= room:
        raise ArmError(
            400,
            "SubnetIsFull",
            f"Subnet {subnet.name} with address prefix {prefixes[0]} does not have enough capacity "
            "for 1 IP addresses.",
        )


def inside(arm: Arm, subnet_id: str) -> list[Resource]:
    """The interfaces in a subnet."""
    wanted = subnet_id.lower()
    return [
        nic
        for nic in arm.resources.list(NIC)
        if any(
            (each["properties"].get("subnet") or {}).get("id", "").lower() == wanted
            for each in nic.properties.get("ipConfigurations", ())
        )
    ]


def attach(arm: Arm, vm: Resource, request: dict[str, Any]) -> dict[str, Any]:
    """Make a VM's interfaces and public addresses; its ``networkProfile`` as Azure shows it."""
    profile = request["properties"]["networkProfile"]
    references = []
    for given in profile.get("networkInterfaces") or ():
        nic = arm.resources.get(given["id"])
        assert nic is not None
        _bind(nic, vm)
        properties = {"deleteOption": "Detach", **(given.get("properties") or {})}
        references.append({"id": nic.id, "properties": properties})
    many = profile.get("networkInterfaceConfigurations") or ()
    for configuration in many:
        nic = _inline(arm, vm, configuration)
        properties = configuration["properties"]
        shown = {
            "primary": bool(properties.get("primary", len(many) == 1)),
            "deleteOption": properties.get("deleteOption", "Detach"),
        }
        references.append({"id": nic.id, "properties": shown})
    vm.hidden["nics"] = [each["id"] for each in references]
    return {"networkInterfaces": references}


def _bind(nic: Resource, vm: Resource) -> None:
    nic.properties["virtualMachine"] = {"id": vm.id}
    nic.hidden["vm"] = vm.name


def _inline(arm: Arm, vm: Resource, configuration: dict[str, Any]) -> Resource:
    suffix = uuid.uuid4().hex[:8]
    nic_id = arm.id(vm.group, NIC, f"{configuration['name']}-{suffix}")
    wanted = copy.deepcopy(configuration["properties"])
    addresses = []
    for each in wanted.get("ipConfigurations") or ():
        public = each["properties"].pop("publicIPAddressConfiguration", None)
        if public is not None:
            address = _public(arm, vm, public, suffix)
            each["properties"]["publicIPAddress"] = {"id": address.id}
            addresses.append((address.id, public["properties"].get("deleteOption", "Detach")))
    for key in ("primary", "deleteOption"):
        wanted.pop(key, None)
    body = {"location": vm.location, "properties": wanted}
    if configuration.get("tags") or vm.body.get("tags"):
        body["tags"] = dict(configuration.get("tags") or {})
    nic = arm.resources.put(nic_id, nic_body(nic_id, body), public=addresses)
    _bind(nic, vm)
    return nic


def nic_body(nic_id: str, request: dict[str, Any]) -> dict[str, Any]:
    """An interface as Azure shows it; addresses are filled in later."""
    properties = copy.deepcopy(request.get("properties") or {})
    for index, each in enumerate(properties.get("ipConfigurations") or ()):
        each["id"] = f"{nic_id}/ipConfigurations/{each['name']}"
        each["type"] = "Microsoft.Network/networkInterfaces/ipConfigurations"
        given = each.setdefault("properties", {})
        given.setdefault("privateIPAllocationMethod", "Dynamic")
        given.setdefault("privateIPAddressVersion", "IPv4")
        given.setdefault("primary", index == 0)
        given["provisioningState"] = "Succeeded"
    properties.setdefault("enableAcceleratedNetworking", False)
    properties.setdefault("enableIPForwarding", False)
    properties.setdefault("dnsSettings", {"dnsServers": [], "appliedDnsServers": []})
    properties.update(
        provisioningState="Succeeded",
        resourceGuid=str(uuid.uuid4()),
        hostedWorkloads=[],
        tapConfigurations=[],
        nicType="Standard",
    )
    body = {
        "name": nic_id.rsplit("/", 1)[-1],
        "id": nic_id,
        "etag": f'W/"{uuid.uuid4()}"',
        "type": NIC,
        "kind": "Regular",
        "location": request["location"],
        "properties": properties,
    }
    return {**body, "tags": dict(request["tags"])} if request.get("tags") else body


def _public(arm: Arm, vm: Resource, wanted: dict[str, Any], suffix: str) -> Resource:
    public_id = arm.id(vm.group, PUBLIC_IP, f"{wanted['name']}-{suffix}")
    request = {
        "location": vm.location,
        "sku": wanted.get("sku") or {"name": "Standard"},
        "properties": wanted["properties"],
        "tags": wanted.get("tags"),
        "zones": vm.body.get("zones"),
    }
    return arm.resources.put(public_id, public_body(arm, public_id, request), vm=vm.name)


def public_body(arm: Arm, public_id: str, request: dict[str, Any]) -> dict[str, Any]:
    """A public address as Azure shows it."""
    properties = copy.deepcopy(request.get("properties") or {})
    properties.pop("deleteOption", None)
    properties.setdefault("publicIPAddressVersion", "IPv4")
    properties.setdefault("publicIPAllocationMethod", "Static")
    properties.setdefault("idleTimeoutInMinutes", 4)
    properties.setdefault("ipTags", [])
    properties.setdefault("ipAddress", arm.next_public_address())
    properties.update(provisioningState="Succeeded", resourceGuid=str(uuid.uuid4()))
    body = {
        "name": public_id.rsplit("/", 1)[-1],
        "id": public_id,
        "etag": f'W/"{uuid.uuid4()}"',
        "type": PUBLIC_IP,
        "location": request["location"],
        "sku": {"tier": "Regional", **(request.get("sku") or {"name": "Standard"})},
        "properties": properties,
    }
    return body | {key: request[key] for key in ("tags", "zones") if request.get(key)}


def set_address(arm: Arm, vm: Resource, address: str) -> None:
    """Tell the primary interface its private address."""
    for nic_id in vm.hidden["nics"][:1]:
        nic = arm.resources.get(nic_id)
        if nic is None:
            continue
        first = nic.properties["ipConfigurations"][0]["properties"]
        first["privateIPAddress"] = address
        public = arm.resources.get((first.get("publicIPAddress") or {}).get("id", ""))
        if public is not None and arm.public_addresses_reachable:
            public.properties["ipAddress"] = address


def detach(arm: Arm, vm: Resource, *, cascade: bool) -> None:
    """Free a VM's interfaces; those with deleteOption Delete go when ``cascade`` says so."""
    profile = vm.properties.get("networkProfile") or {}
    for reference in profile.get("networkInterfaces", ()):
        nic = arm.resources.get(reference["id"])
        if nic is None:
            continue
        nic.properties.pop("virtualMachine", None)
        if not cascade or reference["properties"].get("deleteOption") != "Delete":
            continue
        arm.resources.delete(nic.id)
        for public_id, option in nic.hidden.get("public", ()):
            if option == "Delete":
                arm.resources.delete(public_id)


def free_address(arm: Arm, subnet_id: str) -> str:
    """An address of a subnet that no interface has."""
    subnet = arm.resources.get(subnet_id)
    assert subnet is not None
    taken = {
        each["properties"].get("privateIPAddress")
        for nic in inside(arm, subnet_id)
        for each in nic.properties["ipConfigurations"]
    }
    given = subnet.properties
    prefix = given.get("addressPrefix") or given["addressPrefixes"][0]
    hosts = ipaddress.ip_network(prefix).hosts()
    return next(str(host) for n, host in enumerate(hosts) if n >= 3 and str(host) not in taken)
