"""What a site stands on in one region: its network, sizes with their quotas, and images."""

from __future__ import annotations

import fnmatch
import ipaddress
import socket
from collections.abc import Mapping
from typing import Any

from azure.core.exceptions import AzureError, ResourceNotFoundError

from . import network as net
from . import quota, skus
from .admin import AdminClients
from .clients import wire
from .findings import Finding, error, failed, ok, warning
from .images import BootImage, ImageBook, Variant
from .reach import IPAddress, Way, deciding_rule, open_sources, way_from
from .rights import CATALOG
from .settings import AzureSettings

FEW_ADDRESSES = 16
"""With fewer free addresses than this a subnet is worth a warning."""

_SKUS, _USAGES, _IMAGES = CATALOG.actions
_GALLERY_API = "2024-03-03"
_SHOWN = 4


class RegionCheck:
    """Looks at one region.

    Parameters
    ----------
    settings, clients
        As of :class:`~skyport_gates.azure.check.Check`.
    region
        The region's name.
    images
        The images that the site offers.
    """

    def __init__(
        self, settings: AzureSettings, clients: AdminClients, region: str, images: ImageBook
    ) -> None:
        self._settings = settings
        self._clients = clients
        self._region = region
        self._images = images

    async def findings(self) -> list[Finding]:
        """All that was found."""
        return [*await self._network(), *await self._sizes(), *await self._boot_images()]

    # -- network -------------------------------------------------------------------------------

    async def _network(self) -> list[Finding]:
        topic = f"network {self._region}"
        parts = self._settings.subnet_id(self._region).strip("/").split("/")
        if len(parts) != 10:
            return [error(topic, f"{'/'.join(parts)} is no id of a subnet")]
        group, name, subnet_name = parts[3], parts[7], parts[9]
        network = self._clients.network
        try:
            body = wire(await network.virtual_networks.get(group, name))
        except ResourceNotFoundError:
            return [
                error(
                    topic,
                    f"there is no virtual network {name!r} in the group {group}",
                    "skyport-core azure setup makes it",
                )
            ]
        except AzureError as cause:
            right = "Microsoft.Network/virtualNetworks/read"
            return [failed(topic, cause, right=right, where=f"the group {group}")]
        subnet = net.find_subnet(body, subnet_name)
        if subnet is None:
            return [error(topic, f"the virtual network {name!r} has no subnet {subnet_name!r}")]
        found = [self._room(topic, subnet), self._way_out(topic, subnet)]
        try:
            return [*found, await self._way_in(topic, body, subnet)]
        except AzureError as cause:
            right = "Microsoft.Network/networkSecurityGroups/read"
            return [*found, failed(topic, cause, right=right, where=f"the group {group}")]

    def _room(self, topic: str, subnet: Mapping[str, Any]) -> Finding:
        """Free addresses of the subnet."""
        blocks = map(ipaddress.ip_network, net.subnet_prefixes(subnet))
        whole = sum(one.num_addresses - net.RESERVED for one in blocks if one.version == 4)
        used = len(subnet.get("properties", {}).get("ipConfigurations") or ())
        free, name = whole - used, subnet.get("name")
        text = f"subnet {name!r} has room for {free:,} more machines"
        if free <= 0:
            return error(topic, f"subnet {name!r} has no address left", "use a larger one")
        if free < FEW_ADDRESSES:
            return warning(topic, text, "use a larger one")
        return ok(topic, text)

    def _way_out(self, topic: str, subnet: Mapping[str, Any]) -> Finding:
        """Whether machines reach the internet, from where they fetch what they install."""
        properties = subnet.get("properties", {})
        if self._settings.public_ip:
            return ok(topic, "machines have public addresses, also as their way out")
        if properties.get("natGateway"):
            gateway = str(properties["natGateway"].get("id", "")).rpartition("/")[2]
            return ok(topic, f"way out through the NAT gateway {gateway!r}")
        if properties.get("routeTable"):
            return ok(topic, "way out as the subnet's route table says")
        if properties.get("defaultOutboundAccess") is False:
            return warning(
                topic,
                "machines have no way out: they cannot install anything from the internet",
                "setup --nat makes one; or use an image that has everything, and bootstrap 'none'",
            )
        return warning(
            topic,
            "the way out is Azure's default one, which it gives to old networks only",
            "setup --nat makes one to rely on",
        )

    async def _way_in(
        self, topic: str, network: Mapping[str, Any], subnet: Mapping[str, Any]
    ) -> Finding:
        """Whether SSH from this machine would get to one in the subnet."""
        port = self._settings.ssh_port
        rules = await self._rules(subnet)
        if self._settings.public_ip:
            return self._public_way(topic, rules, port)
        here = local_address(net.subnet_prefixes(subnet))
        if here is None:
            return warning(topic, "this machine has no route to the subnet's addresses")
        way = way_from(here, network)
        if way is Way.BROKEN:
            return error(topic, f"this machine ({here}) is {way.value}", "mend the peering")
        if rules is not None:
            rule = deciding_rule(rules, here, port, way)
            if rule.access.lower() != "allow":
                return error(
                    topic,
                    f"the rule {rule.name!r} keeps SSH from this machine ({here}) out",
                    f"skyport-core azure setup --core-address={here}/{here.max_prefixlen} --update",
                )
        if way is Way.OUTSIDE:
            return warning(
                topic,
                f"this machine ({here}) is {way.value}",
                "unless a VPN joins them: run the core in the network, peer its network with "
                "this one, or set public_ip",
            )
        return ok(topic, f"this machine ({here}) is {way.value}, and SSH is let in")

    def _public_way(self, topic: str, rules: list[net.Rule] | None, port: int) -> Finding:
        if rules is None:
            return error(
                topic,
                "the subnet has no security group, and public addresses then let nothing in",
                "skyport-core azure setup makes one",
            )
        sources = [one for one in open_sources(rules, port) if one.lower() != "virtualnetwork"]
        if not sources:
            return error(
                topic,
                "SSH is let in from no public address",
                "skyport-core azure setup --core-address=ADDRESS/32 --update",
            )
        if {"*", "internet", "0.0.0.0/0"} & {one.lower() for one in sources}:
            return warning(
                topic,
                "SSH is let in from the whole internet",
                "skyport-core azure setup --core-address=ADDRESS/32 --update",
            )
        return ok(
            topic, f"SSH is let in from {', '.join(sources)}: this must be the core's address"
        )

    async def _rules(self, subnet: Mapping[str, Any]) -> list[net.Rule] | None:
        """The rules of the subnet's security group; None: it has no group."""
        there = subnet.get("properties", {}).get("networkSecurityGroup")
        if not there:
            return None
        parts = str(there["id"]).strip("/").split("/")
        group = wire(await self._clients.network.network_security_groups.get(parts[3], parts[-1]))
        return [
            net.Rule.read(one) for one in group.get("properties", {}).get("securityRules") or ()
        ]

    # -- sizes ---------------------------------------------------------------------------------

    async def _sizes(self) -> list[Finding]:
        topic, subscription = (
            f"sizes {self._region}",
            f"/subscriptions/{self._settings.subscription}",
        )
        compute = self._clients.compute
        try:
            listing = compute.resource_skus.list(filter=f"location eq '{self._region}'")
            rows = [wire(one) async for one in listing]
        except AzureError as cause:
            return [failed(topic, cause, right=_SKUS, where=subscription)]
        sizes = [one for one in skus.parse_all(rows, self._region).values() if self._wanted(one)]
        if not sizes:
            patterns = ", ".join(self._settings.sizes)
            return [error(topic, f"none matches {patterns}", "change c.AzureGate.sizes or regions")]
        usable = [one for one in sizes if not one.restriction]
        if not usable:
            reason = sizes[0].restriction
            return [error(topic, f"all {len(sizes)} are closed to this subscription: {reason}")]
        closed = len(sizes) - len(usable)
        text = f"{len(usable)} to choose from" + (f", {closed} closed to you" if closed else "")
        return [ok(topic, text), *await self._quotas(usable, subscription)]

    def _wanted(self, size: skus.Size) -> bool:
        def fits(patterns: list[str]) -> bool:
            name = size.name.lower()
            return any(fnmatch.fnmatchcase(name, one.lower()) for one in patterns)

        return fits(self._settings.sizes) and not fits(self._settings.exclude_sizes)

    async def _quotas(self, sizes: list[skus.Size], subscription: str) -> list[Finding]:
        topic = f"quotas {self._region}"
        try:
            rows = [wire(one) async for one in self._clients.compute.usage.list(self._region)]
        except AzureError as cause:
            return [failed(topic, cause, right=_USAGES, where=subscription)]
        quotas = quota.parse(rows, self._region)
        found = [_quota_finding(topic, sizes, quotas, spot=False)]
        eligible = [size for size in sizes if size.spot]
        if self._settings.offer_spot and eligible:
            found.append(_quota_finding(f"{topic} spot", eligible, quotas, spot=True))
        return found

    # -- images --------------------------------------------------------------------------------

    async def _boot_images(self) -> list[Finding]:
        topic = f"images {self._region}"
        found = []
        for image in self._images.all():
            found += [
                error(topic, f"{image.name}: {fault}") for fault in await self._image_faults(image)
            ]
        return found or [ok(topic, f"all there: {_names(self._images)}")]

    async def _image_faults(self, image: BootImage) -> list[str]:
        faults = []
        for variant in image.variants:
            try:
                fault = await self._variant_fault(variant)
            except ResourceNotFoundError:
                fault = "is not in this region"
            except AzureError as cause:
                fault = failed("", cause, right=_IMAGES, where="the subscription").text
            if fault:
                faults.append(f"{_reference(variant)} {fault}")
        return faults

    async def _variant_fault(self, variant: Variant) -> str:
        """Why a machine here could not boot it; "" if it could."""
        reference = variant.reference
        if "publisher" in reference:
            images = self._clients.compute.virtual_machine_images
            place = (reference["publisher"], reference["offer"], reference["sku"])
            if reference["version"].lower() == "latest":
                there = await images.list(self._region, *place, top=1)
                return "" if there else "is not in this region"
            await images.get(self._region, *place, reference["version"])
            return ""
        if "id" not in reference:
            # Galleries of others cannot be looked into; a machine can still boot from them.
            return ""
        resources = self._clients.resources.resources
        body = wire(await resources.get_by_id(reference["id"], api_version=_GALLERY_API))
        profile = body.get("properties", {}).get("publishingProfile") or {}
        regions = [_plain(str(one.get("name"))) for one in profile.get("targetRegions") or ()]
        return f"is only in {', '.join(regions)}" if regions and self._region not in regions else ""


def local_address(prefixes: list[str]) -> IPAddress | None:
    """This machine's address towards a subnet; nothing is sent."""
    target = ipaddress.ip_network(prefixes[0], strict=False).network_address + 4
    family = socket.AF_INET if target.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(target), 22))
        except OSError:
            return None
        return ipaddress.ip_address(probe.getsockname()[0])


def _quota_finding(
    topic: str, sizes: list[skus.Size], quotas: quota.Quotas, *, spot: bool
) -> Finding:
    """How many sizes the quotas leave room for."""
    reasons = {size.name: quotas.lack(size, spot=spot) for size in sizes}
    lacking = sorted({reason for reason in reasons.values() if reason})
    fitting = sum(not reason for reason in reasons.values())
    if not lacking:
        return ok(topic, f"room for every one of the {len(sizes)} sizes")
    shown = "; ".join(lacking[:_SHOWN])
    more = f"; and {len(lacking) - _SHOWN} more" if len(lacking) > _SHOWN else ""
    text = f"room for {fitting} of {len(sizes)} sizes: {shown}{more}"
    return error(topic, text) if not fitting and not spot else warning(topic, text)


def _reference(variant: Variant) -> str:
    reference = variant.reference
    if "publisher" in reference:
        return ":".join(reference[key] for key in ("publisher", "offer", "sku", "version"))
    return next(iter(reference.values()))


def _names(images: ImageBook) -> str:
    return ", ".join(image.name for image in images.all())


def _plain(region: str) -> str:
    return region.replace(" ", "").lower()
