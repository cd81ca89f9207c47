"""Images: what users call them, and what Azure does."""

from __future__ import annotations

from typing import Any

import pytest

from skyport_gates.azure.images import ImageBook
from skyport_gates.azure.skus import ARM64, Size
from skyport_gates.gate import ConfigurationError, InvalidRequest

GEN2 = Size("Standard_D4s_v5", "westeurope", generations=(1, 2))
GEN1 = Size("Standard_D2_v2", "westeurope", generations=(1,))
ARM = Size("Standard_D4ps_v5", "westeurope", architecture=ARM64, generations=(2,))

GALLERY = (
    "/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/galleries/lab/images/jupyter"
)


def book(default: str = "", **images: dict[str, Any]) -> ImageBook:
    """Images as configured."""
    return ImageBook(images, default)


def test_debian_and_ubuntu_are_there_without_configuration() -> None:
    names = [image.name for image in book().listing()]
    assert names == ["debian-12", "ubuntu-24.04", "ubuntu-22.04"]


@pytest.mark.parametrize("name", ["debian-12", "ubuntu-24.04", "ubuntu-22.04"])
@pytest.mark.parametrize("size", [GEN2, GEN1, ARM])
def test_each_of_them_boots_on_every_kind_of_machine(name: str, size: Size) -> None:
    variant = book().resolve(name, size)
    assert set(variant.reference) == {"publisher", "offer", "sku", "version"}
    assert variant.architecture == size.architecture


def test_the_newer_generation_is_preferred() -> None:
    assert book().resolve("debian-12", GEN2).reference["sku"] == "12-gen2"
    assert book().resolve("debian-12", GEN1).reference["sku"] == "12"


def test_a_built_in_name_can_be_chosen_by_an_empty_entry() -> None:
    chosen = ImageBook({"ubuntu-24.04": {"description": "ours"}})
    assert [image.description for image in chosen.listing()] == ["ours"]
    assert chosen.resolve("", GEN2).reference["offer"] == "ubuntu-24_04-lts"


def test_a_urn_names_a_marketplace_image() -> None:
    variant = book(own={"urn": "Lab:jupyter:lab-5:latest"}).resolve("own", GEN2)
    assert variant.reference == {
        "publisher": "Lab",
        "offer": "jupyter",
        "sku": "lab-5",
        "version": "latest",
    }


def test_a_plan_follows_from_the_urn() -> None:
    variant = book(own={"urn": "Lab:jupyter:five:1.0.0", "plan": True}).resolve("own", GEN2)
    assert variant.plan == {"name": "five", "product": "jupyter", "publisher": "Lab"}


@pytest.mark.parametrize(
    ("identity", "field"),
    [
        (GALLERY, "id"),
        (f"{GALLERY}/versions/1.0.0", "id"),
        ("/subscriptions/1/resourceGroups/g/providers/Microsoft.Compute/images/own", "id"),
        ("/CommunityGalleries/lab-1/Images/own/Versions/latest", "communityGalleryImageId"),
        ("/SharedGalleries/lab-1/Images/own", "sharedGalleryImageId"),
    ],
)
def test_an_id_names_an_image_of_a_gallery(identity: str, field: str) -> None:
    assert book(own={"id": identity}).resolve("own", GEN2).reference == {field: identity}


def test_who_asks_for_none_gets_the_default() -> None:
    images = {"one": {"urn": "a:b:c:latest"}, "two": {"urn": "a:b:d:latest"}}
    assert ImageBook(images).resolve("", GEN2).reference["sku"] == "c"
    assert ImageBook(images, "two").resolve("", GEN2).reference["sku"] == "d"


def test_who_asks_for_none_gets_what_boots_there() -> None:
    images = {
        "intel": {"urn": "a:b:c:latest"},
        "arm": {"urn": "a:b:d:latest", "architecture": "arm64"},
    }
    assert ImageBook(images).resolve("", ARM).reference["sku"] == "d"


def test_arm_machines_are_usable_only_with_an_image_for_them() -> None:
    assert book().boots(ARM)
    assert not book(own={"urn": "a:b:c:latest"}).boots(ARM)


def test_an_unknown_image_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidRequest, match="'windows'") as caught:
        book().resolve("windows", GEN2)
    assert "debian-12, ubuntu-22.04, ubuntu-24.04" in caught.value.hint


def test_an_image_that_does_not_boot_there_is_refused() -> None:
    images = {"own": {"urn": "a:b:c:latest"}, "debian-12": {}}
    with pytest.raises(InvalidRequest, match=r"'own' does not boot on Standard_D4ps_v5") as caught:
        ImageBook(images).resolve("own", ARM)
    assert "debian-12" in caught.value.hint


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ({"urn": "a:b:c"}, "publisher:offer:sku:version"),
        ({"urn": "a:b:c:latest", "id": GALLERY}, "both"),
        ({"id": "jupyter"}, "galleries"),
        ({}, "neither urn nor id"),
        ({"url": "x"}, "unknown url; allowed are urn, id"),
        ({"urn": "a:b:c:latest", "architecture": "sparc"}, "'x64' or 'Arm64'"),
        ({"urn": "a:b:c:latest", "generation": 3}, "1 or 2"),
        ({"id": GALLERY, "plan": True}, "plan"),
    ],
)
def test_a_wrong_entry_is_named_with_what_may_stand_there(
    entry: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ConfigurationError, match="'own'") as caught:
        book(own=entry)
    assert fault in caught.value.message


def test_a_default_that_is_no_image_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'other'"):
        book("other")
