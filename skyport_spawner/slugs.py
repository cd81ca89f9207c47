"""Names that are safe in URLs, labels and host names."""

from __future__ import annotations

import hashlib
import re

try:
    from jupyterhub.slugs import safe_slug as hub_slug
except ImportError:  # JupyterHub 5
    hub_slug = None  # type: ignore[assignment]


def safe_slug(name: str) -> str:
    """A name of at most 30 lower-case letters, digits and dashes; changed names get a hash."""
    if hub_slug is not None:
        return str(hub_slug(name))
    if re.fullmatch(r"[a-z][a-z0-9]{0,29}", name):
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:18].rstrip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"x-{plain}-{digest}" if plain else f"x-{digest}"


def job_name(server_name: str) -> str:
    """What the console calls a server's job."""
    return f"jupyter-{safe_slug(server_name)}" if server_name else "jupyter"


def keep_name(server_name: str) -> str:
    """Under which name the core keeps the machine of a user's server."""
    return job_name(server_name)
