"""Platform images, galleries and what a VM's image reference means."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.infra.arm.router import Answer, ArmError, Call, Router
from tests.infra.arm.state import Arm

_GALLERY = "/subscriptions/{sub}/resourceGroups/{rg}/providers/Microsoft.Compute/galleries"
_PUBLISHERS = "/subscriptions/{sub}/providers/Microsoft.Compute/locations/{location}/publishers"


@dataclass(frozen=True)
class PlatformImage:
    """An image of the marketplace.

    Attributes
    ----------
    publisher, offer, sku
        What an URN names.
    versions
        Oldest first.
    os
        "Linux" or "Windows".
    architecture
        "x64" or "Arm64".
    generation
        Of Hyper-V: "V1" or "V2".
    disk
        GiB of its OS disk.
    plan
        Whether it can only be used with a purchase plan.
    """

    publisher: str
    offer: str
    sku: str
    versions: tuple[str, ...] = ("1.0.0",)
    os: str = "Linux"
    architecture: str = "x64"
    generation: str = "V2"
    disk: int = 30
    plan: bool = False

    def key(self) -> tuple[str, str, str]:
        """What it is found by, in lower case."""
        return self.publisher.lower(), self.offer.lower(), self.sku.lower()


PLATFORM = (
    PlatformImage(
        "Canonical", "ubuntu-24_04-lts", "server", ("24.04.202404230", "24.04.202509030")
    ),
    PlatformImage("Canonical", "ubuntu-24_04-lts", "server-arm64", architecture="Arm64"),
    PlatformImage("Canonical", "ubuntu-24_04-lts", "server-gen1", generation="V1"),
    PlatformImage("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2"),
    PlatformImage("Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts", generation="V1"),
    PlatformImage(
        "Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-arm64", architecture="Arm64"
    ),
    PlatformImage("Canonical", "UbuntuServer", "16.04-LTS", ("16.04.202109280",), generation="V1"),
    PlatformImage("Debian", "debian-12", "12-gen2", ("0.20250101.1", "0.20250909.2230")),
    PlatformImage("Debian", "debian-12", "12", generation="V1"),
    PlatformImage("Debian", "debian-12", "12-arm64", architecture="Arm64"),
    PlatformImage("microsoft-dsvm", "ubuntu-hpc", "2204", disk=64),
    PlatformImage("nvidia", "ngc_azure_17_11", "ngc-base-version-23_03-gen2", disk=64, plan=True),
    PlatformImage(
        "MicrosoftWindowsServer",
        "WindowsServer",
        "2022-datacenter-azure-edition",
        ("20348.3932.250705",),
        "Windows",
        disk=127,
    ),
)
"""Images that exist by name in Azure; their versions are a few of them."""


class Images:
    """The marketplace.

    Attributes
    ----------
    platform
        Its images; tests add their own.
    accepted
        (publisher, offer, plan), in lower case, whose terms the subscription accepted.
    shared
        Images that others share, by the lower-case id in their references.
    """

    def __init__(self) -> None:
        self.platform: list[PlatformImage] = list(PLATFORM)
        self.accepted: set[tuple[str, str, str]] = set()
        self.shared: dict[str, PlatformImage] = {}

    def find(self, publisher: str, offer: str, sku: str) -> PlatformImage | None:
        """An image of the marketplace."""
        wanted = (publisher.lower(), offer.lower(), sku.lower())
        return next((each for each in self.platform if each.key() == wanted), None)

    def resolve(self, arm: Arm, reference: dict[str, Any]) -> PlatformImage:
        """What an ``imageReference`` means.

        Returns
        -------
        PlatformImage
            Its facts, with the one version that is meant. For an image of a gallery or a managed
            image publisher, offer and sku are "".

        Raises
        ------
        ArmError
            There is no such image.
        """
        if reference.get("id"):
            return _custom(arm, str(reference["id"]))
        shared = reference.get("sharedGalleryImageId") or reference.get("communityGalleryImageId")
        if shared:
            if shared.lower() in self.shared:
                return self.shared[shared.lower()]
            raise ArmError(
                404, "GalleryImageNotFound", f"The gallery image {shared} is not available."
            )
        parts = [str(reference.get(key, "")) for key in ("publisher", "offer", "sku", "version")]
        if not all(parts):
            raise ArmError(
                400,
                "InvalidParameter",
                "The value of parameter imageReference is invalid.",
                "imageReference",
            )
        image = self.find(*parts[:3])
        version = parts[3]
        if image is None or version.lower() not in ("latest", *image.versions):
            raise ArmError(
                404,
                "PlatformImageNotFound",
                f"The platform image '{':'.join(parts)}' is not available. Verify that all fields"
                " in the storage profile are correct. For more details about storage profile"
                " information, please refer to https://aka.ms/storageprofile",
                "imageReference",
            )
        exact = image.versions[-1] if version.lower() == "latest" else version
        return _only(image, exact)

    def require_plan(self, image: PlatformImage, plan: dict[str, Any] | None) -> None:
        """:class:`ArmError` when an image needs a purchase plan that was not given or accepted."""
        if not image.plan:
            return
        if not plan:
            raise ArmError(
                400,
                "VMMarketplaceInvalidInput",
                "Creating a virtual machine from Marketplace image or a custom image sourced from a"
                " Marketplace image requires Plan information in the request. OS disk name is"
                " 'osdisk'.",
            )
        wanted = (plan.get("publisher", ""), plan.get("product", ""), plan.get("name", ""))
        if tuple(part.lower() for part in wanted) not in self.accepted:
            raise ArmError(
                400,
                "MarketplacePurchaseEligibilityFailed",
                "Marketplace purchase eligibilty check returned errors. See inner errors for"
                " details. ",
                details=[
                    {
                        "code": "BadRequest",
                        "message": json.dumps({"error": _not_accepted(wanted)}),
                    }
                ],
                headers={"x-ms-failure-cause": "gateway"},
            )


def _not_accepted(plan: tuple[str, str, str]) -> dict[str, str]:
    return {
        "code": "MarketplaceTermsNotAccepted",
        "message": f"Offer with PublisherId: '{plan[0]}', OfferId: '{plan[1]}' cannot be purchased"
        f" due to validation errors: the legal terms of plan '{plan[2]}' have not been accepted on"
        " this subscription.",
    }


def routes(router: Router) -> None:
    """Register the lists of the marketplace and the paths of galleries."""
    offers = f"{_PUBLISHERS}/{{publisher}}/artifacttypes/vmimage/offers"
    router.add("GET", _PUBLISHERS, _publishers, kind="publishers.list")
    router.add("GET", offers, _offers, kind="offers.list")
    router.add("GET", f"{offers}/{{offer}}/skus", _skus, kind="imageSkus.list")
    versions = f"{offers}/{{offer}}/skus/{{sku}}/versions"
    router.add("GET", versions, _versions, kind="imageVersions.list")
    router.add("GET", f"{versions}/{{version}}", _version, kind="imageVersions.get")
    image = f"{_GALLERY}/{{gallery}}/images/{{image}}"
    for template, kind in (
        (f"{_GALLERY}/{{gallery}}", "galleries"),
        (image, "galleryImages"),
        (f"{image}/versions/{{version}}", "galleryVersions"),
        (_GALLERY.replace("galleries", "images") + "/{image}", "images"),
    ):
        router.add("PUT", template, _put, kind=f"{kind}.put")
        router.add("GET", template, _get, kind=f"{kind}.get")
        router.add("DELETE", template, _delete, kind=f"{kind}.delete")
        router.add("GET", template.rsplit("/", 1)[0], _list, kind=f"{kind}.list")


def _only(image: PlatformImage, version: str) -> PlatformImage:
    facts = image.__dict__ | {"versions": (version,)}
    return PlatformImage(**facts)


def _custom(arm: Arm, image_id: str) -> PlatformImage:
    found = arm.resources.get(image_id)
    if found is None and "/versions/" in image_id.lower():
        found = arm.resources.get(_latest(arm, image_id))
    if found is None:
        raise ArmError(
            404,
            "GalleryImageNotFound" if "/galleries/" in image_id.lower() else "NotFound",
            f"The gallery image {image_id} is not available in {arm.regions[0]} region. Please"
            " contact image owner to replicate to this region, or change your requested region.",
            "imageReference",
        )
    parts = image_id.split("/")
    definition = arm.resources.get("/".join(parts[:11])) or found
    facts = definition.properties
    storage = facts.get("storageProfile", {}).get("osDisk", {})
    version = parts[-1] if "/versions/" in image_id.lower() else "1.0.0"
    return PlatformImage(
        "",
        "",
        "",
        (version,),
        facts.get("osType") or storage.get("osType", "Linux"),
        facts.get("architecture", "x64"),
        facts.get("hyperVGeneration", "V1"),
    )


def _latest(arm: Arm, image_id: str) -> str:
    """The newest version of an image when "latest" is asked for."""
    stem, _, version = image_id.rpartition("/")
    versions = sorted(each.name for each in arm.resources.below(stem))
    return f"{stem}/{versions[-1]}" if version.lower() == "latest" and versions else image_id


def _entry(call: Call, name: str) -> dict[str, str]:
    stem = f"/Subscriptions/{call.arm.subscription}/Providers/Microsoft.Compute/Locations"
    rest = call.path.split("/locations/", 1)[-1].split("/", 1)[-1]
    return {
        "location": call.params["location"],
        "name": name,
        "id": f"{stem}/{call.params['location']}/{rest}/{name}",
    }


def _chosen(call: Call) -> list[PlatformImage]:
    """The images that the path's publisher, offer and sku leave; 404 when none."""
    wanted = [
        call.params[key].lower() for key in ("publisher", "offer", "sku") if key in call.params
    ]
    found = [each for each in call.arm.images.platform if [*each.key()][: len(wanted)] == wanted]
    if not found:
        raise ArmError(404, "NotFound", "Artifact: VMImage was not found.")
    return found


def _named(call: Call, names: list[str]) -> Answer:
    return Answer(200, [_entry(call, name) for name in dict.fromkeys(sorted(names))])


async def _publishers(call: Call) -> Answer:
    return _named(call, [each.publisher for each in call.arm.images.platform])


async def _offers(call: Call) -> Answer:
    return _named(call, [each.offer for each in _chosen(call)])


async def _skus(call: Call) -> Answer:
    return _named(call, [each.sku for each in _chosen(call)])


async def _versions(call: Call) -> Answer:
    versions = list(_chosen(call)[0].versions)
    if call.option("$orderby").lower() == "name desc":
        versions.reverse()
    top = call.option("$top")
    chosen = versions[: int(top)] if top else versions
    return Answer(200, [_entry(call, name) for name in chosen])


async def _version(call: Call) -> Answer:
    image = _chosen(call)[0]
    version = call.params["version"]
    if version.lower() == "latest":
        version = image.versions[-1]
    if version not in image.versions:
        raise ArmError(404, "NotFound", "Artifact: VMImage was not found.")
    properties: dict[str, Any] = {
        "osDiskImage": {"operatingSystem": image.os, "sizeInGb": image.disk},
        "dataDiskImages": [],
        "automaticOSUpgradeProperties": {"automaticOSUpgradeSupported": False},
        "hyperVGeneration": image.generation,
        "architecture": image.architecture,
        "features": [{"name": "SecurityType", "value": "TrustedLaunchSupported"}]
        if image.generation == "V2" and image.architecture == "x64"
        else [],
        "imageDeprecationStatus": {"imageState": "Active"},
    }
    if image.plan:
        properties["plan"] = {
            "publisher": image.publisher,
            "product": image.offer,
            "name": image.sku,
        }
    entry = _entry(call, version)
    entry["id"] = entry["id"].removesuffix(f"/{version}")
    return Answer(200, {**entry, "properties": properties})


async def _put(call: Call) -> Answer:
    call.arm.require_group(call.params["rg"])
    body = call.body if isinstance(call.body, dict) else {}
    old = call.arm.resources.get(call.path)
    parent = call.path.rsplit("/", 2)[0]
    if "/galleries/" in parent.lower() and call.arm.resources.get(parent) is None:
        raise ArmError(
            404,
            "ParentResourceNotFound",
            f"Failed to perform 'PUT' on resource(s) of type 'galleries/images', because the"
            f" parent resource '{parent}' could not be found.",
        )
    properties = {**body.get("properties", {}), "provisioningState": "Succeeded"}
    name = call.path.rsplit("/", 1)[-1]
    shown = {**body, "id": call.path, "name": name, "properties": properties}
    resource = call.arm.resources.put(call.path, shown)
    shown["type"] = resource.type
    return Answer(200 if old else 201, shown)


async def _get(call: Call) -> Answer:
    found = call.arm.resources.get(call.path)
    if found is None:
        call.arm.require_group(call.params["rg"])
        raise _missing(call, call.path)
    return Answer(200, found.body)


async def _delete(call: Call) -> Answer:
    removed = call.arm.resources.delete(call.path)
    return Answer(200 if removed else 204)


async def _list(call: Call) -> Answer:
    call.arm.require_group(call.params["rg"])
    depth = call.path.rstrip("/").count("/") + 1
    below = call.arm.resources.below(call.path)
    return Answer(200, {"value": [each.body for each in below if each.id.count("/") == depth]})


def _missing(call: Call, resource_id: str) -> ArmError:
    type_and_name = resource_id.rsplit("/providers/", 1)[-1]
    return ArmError(
        404,
        "ResourceNotFound",
        f"The Resource '{type_and_name}' under resource group '{call.params['rg']}' was not found."
        " For more details please go to https://aka.ms/ARMResourceNotFoundFix",
    )
