"""Images that machines boot: names that users see, and what Azure calls them. Pure: no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ..gate import ConfigurationError, Image, InvalidRequest
from .skus import ARM64, X64, Size

_ALLOWED = ("urn", "id", "architecture", "generation", "plan", "description")

_IDS = (
    (r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.compute/images/[^/]+", "id"),
    (
        r"/subscriptions/[^/]+/resourcegroups/[^/]+/providers/microsoft\.compute"
        r"/galleries/[^/]+/images/[^/]+(/versions/[^/]+)?",
        "id",
    ),
    (r"/communitygalleries/[^/]+/images/[^/]+(/versions/[^/]+)?", "communityGalleryImageId"),
    (r"/sharedgalleries/[^/]+/images/[^/]+(/versions/[^/]+)?", "sharedGalleryImageId"),
)
"""Forms of resource ids, and the field of ``imageReference`` that takes each."""


@dataclass(frozen=True)
class Variant:
    """What boots on machines of one kind.

    Attributes
    ----------
    reference
        The ``imageReference`` of a machine's ``storageProfile``.
    architecture
        ``x64`` or ``Arm64``.
    generation
        The generation of virtual machines that it boots in; None: not known.
    plan
        The ``plan`` of a machine, for images that are sold; None: no plan.
    """

    reference: Mapping[str, str]
    architecture: str = X64
    generation: int | None = None
    plan: Mapping[str, str] | None = None

    def boots(self, size: Size) -> bool:
        """Whether machines of a size can boot it."""
        fits = self.generation is None or self.generation in size.generations
        return fits and self.architecture == size.architecture


@dataclass(frozen=True)
class BootImage:
    """An image by its name, with a variant for each kind of machine; the best comes first."""

    name: str
    variants: tuple[Variant, ...]
    description: str = ""

    def variant(self, size: Size) -> Variant | None:
        """The variant for a size; None if there is none."""
        return next((each for each in self.variants if each.boots(size)), None)


class ImageBook:
    """The images of a gate.

    Parameters
    ----------
    images
        As the trait ``boot_images`` has it; empty: those of Sky Port.
    default
        The image for who asks for none; "": the first.

    Raises
    ------
    ConfigurationError
        Naming the image, what is wrong, and what may stand there.
    """

    def __init__(self, images: Mapping[str, Mapping[str, Any]], default: str = "") -> None:
        entries = images or dict.fromkeys(_BUILT_IN, MappingProxyType({}))
        self._images = {name: _image(name, entry) for name, entry in entries.items()}
        if default and default not in self._images:
            raise _wrong(default, f"default_image is none of {_names(self._images)}")
        self.default = default or next(iter(self._images))

    def listing(self) -> list[Image]:
        """The images for users to choose from."""
        return [Image(image.name, "cloud", image.description) for image in self._images.values()]

    def all(self) -> tuple[BootImage, ...]:
        """The images with their variants."""
        return tuple(self._images.values())

    def boots(self, size: Size) -> bool:
        """Whether there is an image for a size."""
        return any(image.variant(size) for image in self._images.values())

    def resolve(self, name: str, size: Size) -> Variant:
        """What a machine of a size boots for who asks for ``name``.

        "" stands for the default image, or, where that has nothing for the size, for the first
        that has. Raises InvalidRequest.
        """
        if name and name not in self._images:
            raise InvalidRequest(
                f"There is no image {name!r} here.",
                hint=f"Choose one of: {_names(self._images)}.",
            )
        chosen = self._images[name or self.default]
        candidates = [chosen] if name else [chosen, *self._images.values()]
        for image in candidates:
            variant = image.variant(size)
            if variant is not None:
                return variant
        fitting = [image.name for image in self._images.values() if image.variant(size)]
        raise InvalidRequest(
            f"The image {chosen.name!r} does not boot on {size.name} ({size.architecture}).",
            hint=f"Images for it: {_names(fitting)}." if fitting else "Choose another flavor.",
        )


def parse_urn(text: str) -> dict[str, str] | None:
    """``publisher:offer:sku:version`` as an ``imageReference``; None if it is not of that form."""
    parts = [part.strip() for part in text.split(":")]
    if len(parts) != 4 or not all(re.fullmatch(r"[A-Za-z0-9][\w.\-]*", part) for part in parts):
        return None
    return dict(zip(("publisher", "offer", "sku", "version"), parts, strict=True))


def _image(name: str, entry: Mapping[str, Any]) -> BootImage:
    unknown = sorted(set(entry) - set(_ALLOWED))
    if unknown:
        raise _wrong(name, f"unknown {', '.join(unknown)}; allowed are {', '.join(_ALLOWED)}")
    description = str(entry.get("description", ""))
    if "urn" not in entry and "id" not in entry:
        if name not in _BUILT_IN:
            raise _wrong(name, f"it has neither urn nor id, and is none of {_names(_BUILT_IN)}")
        built_in = _BUILT_IN[name]
        return BootImage(name, built_in.variants, description or built_in.description)
    if "urn" in entry and "id" in entry:
        raise _wrong(name, "it has both urn and id; give one of them")
    reference = _reference(name, entry)
    architecture = {X64.lower(): X64, ARM64.lower(): ARM64}.get(
        str(entry.get("architecture", X64)).lower()
    )
    if architecture is None:
        raise _wrong(name, f"architecture is {entry['architecture']!r}, not {X64!r} or {ARM64!r}")
    generation = entry.get("generation")
    if generation not in (None, 1, 2):
        raise _wrong(name, f"generation is {generation!r}, not 1 or 2")
    plan = _plan(name, entry.get("plan"), reference)
    variant = Variant(MappingProxyType(reference), architecture, generation, plan)
    return BootImage(name, (variant,), description or str(entry.get("urn") or entry.get("id")))


def _reference(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    if "urn" in entry:
        urn = parse_urn(str(entry["urn"]))
        if urn is None:
            raise _wrong(name, f"urn is {entry['urn']!r}, not 'publisher:offer:sku:version'")
        return urn
    identity = str(entry["id"]).strip()
    for form, field in _IDS:
        if re.fullmatch(form, identity, re.IGNORECASE):
            return {field: identity}
    raise _wrong(
        name,
        f"id is {identity!r}, not that of a managed image, or of an image or version in a gallery "
        "('/subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/galleries/…/images/…')",
    )


def _plan(name: str, plan: object, reference: Mapping[str, str]) -> Mapping[str, str] | None:
    """``plan`` as a machine wants it; True stands for the one that the URN tells."""
    if plan is None or plan is False:
        return None
    if plan is True and "sku" in reference:
        plan = {
            "name": reference["sku"],
            "product": reference["offer"],
            "publisher": reference["publisher"],
        }
    keys = {"name", "product", "publisher"}
    if not isinstance(plan, Mapping) or set(plan) != keys:
        raise _wrong(name, "plan is neither True (with a urn) nor name, product and publisher")
    return MappingProxyType({key: str(value) for key, value in plan.items()})


def _names(names: Any) -> str:
    return ", ".join(sorted(names))


def _wrong(name: str, what: str) -> ConfigurationError:
    return ConfigurationError(
        f"The image {name!r} cannot be used: {what}.", hint="Correct c.AzureGate.boot_images."
    )


def _built_in(name: str, description: str, urns: Mapping[tuple[str, int], str]) -> BootImage:
    variants = []
    for (architecture, generation), urn in urns.items():
        reference = parse_urn(urn)
        assert reference is not None  # noqa: S101 - these are constants
        variants.append(Variant(MappingProxyType(reference), architecture, generation))
    return BootImage(name, tuple(variants), description)


_BUILT_IN: Mapping[str, BootImage] = MappingProxyType(
    {
        image.name: image
        for image in (
            _built_in(
                "debian-12",
                "Debian 12",
                {
                    (X64, 2): "Debian:debian-12:12-gen2:latest",
                    (X64, 1): "Debian:debian-12:12:latest",
                    (ARM64, 2): "Debian:debian-12:12-arm64:latest",
                },
            ),
            _built_in(
                "ubuntu-24.04",
                "Ubuntu 24.04 LTS",
                {
                    (X64, 2): "Canonical:ubuntu-24_04-lts:server:latest",
                    (X64, 1): "Canonical:ubuntu-24_04-lts:server-gen1:latest",
                    (ARM64, 2): "Canonical:ubuntu-24_04-lts:server-arm64:latest",
                },
            ),
            _built_in(
                "ubuntu-22.04",
                "Ubuntu 22.04 LTS",
                {
                    (X64, 2): "Canonical:ubuntu-22_04-lts:server:latest",
                    (X64, 1): "Canonical:ubuntu-22_04-lts:server-gen1:latest",
                    (ARM64, 2): "Canonical:ubuntu-22_04-lts:server-arm64:latest",
                },
            ),
        )
    }
)
