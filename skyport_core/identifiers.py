"""UUIDs for what has none, derived from names: the same name has the same UUID everywhere."""

from __future__ import annotations

import uuid

_NAMESPACE = uuid.UUID("5b0f4d0c-93a5-5a6e-9d2e-3f1c7a6b8e40")


def account_id(name: str) -> str:
    """Of an account, as scripts may name it (``#SWM account_id``)."""
    return _of("account", name)


def site_id(name: str) -> str:
    """Of a site."""
    return _of("site", name)


def flavor_id(site: str, name: str) -> str:
    """Of a flavor of a site."""
    return _of("flavor", site, name)


def image_id(site: str, kind: str, name: str) -> str:
    """Of an image of a site."""
    return _of("image", site, kind, name)


def node_id(site: str, name: str) -> str:
    """Of a node of a site."""
    return _of("node", site, name)


def _of(*names: str) -> str:
    return str(uuid.uuid5(_NAMESPACE, "\n".join(names)))
