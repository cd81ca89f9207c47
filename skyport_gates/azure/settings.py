"""What an admin sets: where the machines are made, by which credential, and how they look."""

from __future__ import annotations

from typing import Any

from traitlets import Bool, Dict, Enum, Float, Integer, List, Unicode, validate

from ..gate import ConfigurationError
from .access import AzureAccess, https_url


class AzureSettings(AzureAccess):
    """The traits of :class:`~skyport_gates.azure.gate.AzureGate`."""

    regions = List(
        Unicode(),
        help="""
        Regions that machines are offered in ("westeurope"); the first is the preferred one.
        """,
    ).tag(config=True)

    subnets = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        For each region, the resource id of the subnet for the machines. The core must reach its
        addresses. Default: the subnet "nodes" of the virtual network "skyport-<region>" in the
        resource group, as ``skyport-core azure setup`` makes it.
        """,
    ).tag(config=True)

    prices_url = Unicode(
        "https://prices.azure.com/api/retail/prices",
        help="""
        URL of the retail prices; "" to show no other prices than those shipped with Sky Port.
        """,
    ).tag(config=True)

    currency = Unicode(
        "USD",
        help="""
        Currency of the prices, by its three letters.
        """,
    ).tag(config=True)

    sizes = List(
        Unicode(),
        default_value=["Standard_*"],
        help="""
        Sizes of machines to offer, as patterns ("Standard_D*s_v5").
        """,
    ).tag(config=True)

    exclude_sizes = List(
        Unicode(),
        help="""
        Sizes not to offer although ``sizes`` has them, as patterns.
        """,
    ).tag(config=True)

    boot_images = Dict(
        key_trait=Unicode(),
        value_trait=Dict(),
        help="""
        Images to offer, by the name that users see: {"urn": "publisher:offer:sku:version"} of the
        marketplace or {"id": "/subscriptions/…/images/…/versions/…"} of a compute gallery; with
        "architecture" ("x64" or "Arm64", default "x64") and "description".
        Default: Debian and Ubuntu.
        """,
    ).tag(config=True)

    default_image = Unicode(
        help="""
        Name of the image for jobs that ask for none. Default: the first of ``boot_images``.
        """,
    ).tag(config=True)

    offer_spot = Bool(
        True,
        help="""
        Whether to offer spot machines, which are cheap and may be taken back.
        """,
    ).tag(config=True)

    use_zones = Bool(
        True,
        help="""
        Whether to name a zone for each machine, where the region has zones.
        """,
    ).tag(config=True)

    public_ip = Bool(
        False,
        help="""
        Whether each machine gets a public address, which the core then uses. Only needed when the
        core is neither in the virtual network nor in one that is joined to it.
        """,
    ).tag(config=True)

    disk = Enum(
        ("auto", "ephemeral", "managed"),
        default_value="auto",
        help="""
        System disks: ephemeral ones are on the host (fast, free, gone with the machine); managed
        ones outlive a sleep. auto: ephemeral where the size has room for it and the machine is
        not to sleep.
        """,
    ).tag(config=True)

    disk_size = Integer(
        30,
        min=4,
        max=4095,
        help="""
        Size of the system disks in GiB; not less than the images are.
        """,
    ).tag(config=True)

    disk_type = Unicode(
        "Premium_LRS",
        help="""
        Kind of the managed system disks. A size that has no premium storage gets
        "StandardSSD_LRS" instead of "Premium_LRS".
        """,
    ).tag(config=True)

    identity = Unicode(
        help="""
        Resource id of a user-assigned identity for the machines, should jobs need one. Whoever
        runs code on a machine can act as it: give it no more than that.
        """,
    ).tag(config=True)

    placement_group = Bool(
        False,
        help="""
        Whether the machines of a partition with several nodes are put close to each other.
        Faster between them, but sooner out of capacity.
        """,
    ).tag(config=True)

    trusted_launch = Bool(
        True,
        help="""
        Whether to use secure boot and a virtual TPM where size and image can.
        """,
    ).tag(config=True)

    accelerated_networking = Bool(
        True,
        help="""
        Whether to use accelerated networking where the size can.
        """,
    ).tag(config=True)

    boot_diagnostics = Bool(
        True,
        help="""
        Whether the machines' consoles are kept, to explain failed starts.
        """,
    ).tag(config=True)

    hibernate = Bool(
        False,
        help="""
        Whether machines that sleep keep their memory, where size and image can.
        """,
    ).tag(config=True)

    bootstrap = Enum(
        ("none", "jupyter", "container"),
        default_value="jupyter",
        help="""
        What the first boot installs: nothing (the image has all), a Jupyter server, or the
        runtime for ``container_image``.
        """,
    ).tag(config=True)

    container_image = Unicode(
        help="""
        Container image to fetch at the first boot, for bootstrap "container".
        """,
    ).tag(config=True)

    bootstrap_script = Unicode(
        help="""
        Shell script that runs as root at the end of the first boot.
        """,
    ).tag(config=True)

    lease = Float(
        6 * 3600.0,
        min=0,
        help="""
        Seconds after which a machine that no core has logged in to ends itself, should the core
        be lost for good. 0: never.
        """,
    ).tag(config=True)

    fleet_interval = Float(
        15.0,
        min=0.05,
        help="""
        Seconds between two looks at all machines. Azure limits such looks; not below 5 s there.
        """,
    ).tag(config=True)

    operation_interval = Float(
        2.0,
        min=0.01,
        help="""
        Seconds between two looks at an operation that runs.
        """,
    ).tag(config=True)

    catalog_interval = Float(
        6 * 3600.0,
        min=1,
        help="""
        Seconds between two looks at sizes, prices and quotas.
        """,
    ).tag(config=True)

    ssh_port = Integer(
        22,
        min=1,
        max=65535,
        help="""
        Port of the machines' SSH servers.
        """,
    ).tag(config=True)

    extra_tags = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        help="""
        Tags to write on everything that is made, beside Sky Port's own.
        """,
    ).tag(config=True)

    @validate("prices_url")
    def _valid_prices_url(self, proposal: Any) -> Any:
        return https_url(proposal)

    @validate("regions")
    def _valid_regions(self, proposal: Any) -> Any:
        return [region.replace(" ", "").lower() for region in proposal["value"]]

    @validate("subnets")
    def _valid_subnets(self, proposal: Any) -> Any:
        return {key.replace(" ", "").lower(): value for key, value in proposal["value"].items()}

    def network_name(self, region: str) -> str:
        """Name of the virtual network that setup makes in a region."""
        return f"skyport-{region}"

    def subnet_id(self, region: str) -> str:
        """Resource id of the subnet for the machines of a region."""
        own = f"{self.group_id}/providers/Microsoft.Network/virtualNetworks"
        default = f"{own}/{self.network_name(region)}/subnets/nodes"
        return str(self.subnets.get(region, default))

    def check(self) -> None:
        """Raise ConfigurationError, with all that is wrong at once. Reads no file."""
        faults = self.faults()
        if not self.regions:
            faults.append("regions is empty; name at least one, such as 'westeurope'")
        if self.bootstrap == "container" and not self.container_image:
            faults.append("bootstrap 'container' needs container_image")
        if self.default_image and self.boot_images and self.default_image not in self.boot_images:
            faults.append(f"default_image {self.default_image!r} is not in boot_images")
        if faults:
            raise ConfigurationError(
                "The Azure gate cannot work as it is configured: " + "; ".join(faults) + ".",
                hint="Correct c.AzureGate in the core's configuration file.",
            )
