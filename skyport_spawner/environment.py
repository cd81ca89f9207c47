"""The environment of a server on its node, made from the one JupyterHub gives it.

JupyterHub names addresses as it sees them itself. On the node the server listens on an address of
its own and reaches the hub through a forward; both are known only once the job is placed. So these
variables are sent as templates that the core fills in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

HUB_FORWARD = "hub"
"""Name of the forward that carries the hub's API to the node."""

JOB_DIR = "{job_dir}/"
"""How a path in the job's folder on the node begins."""

FORWARDED = ("JUPYTERHUB_API_URL", "JUPYTERHUB_ACTIVITY_URL")
TLS_FILES = ("JUPYTERHUB_SSL_KEYFILE", "JUPYTERHUB_SSL_CERTFILE", "JUPYTERHUB_SSL_CLIENT_CA")

HOST_ONLY = frozenset(
    {
        "HOME",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "LOGNAME",
        "MANPATH",
        "PATH",
        "PWD",
        "PYTHONHOME",
        "PYTHONPATH",
        "SHELL",
        "TMPDIR",
        "USER",
        "VIRTUAL_ENV",
        "XDG_RUNTIME_DIR",
    }
)
HOST_ONLY_PREFIXES = ("CONDA_", "MAMBA_")


@dataclass(frozen=True)
class ServerEnvironment:
    """``literal`` and ``templates`` by variable name; ``forwards`` as in a job request."""

    literal: dict[str, str]
    templates: dict[str, str]
    forwards: dict[str, str]


def is_host_only(name: str) -> bool:
    """Whether a variable describes the hub's own machine and would mislead a node."""
    return name in HOST_ONLY or name.startswith(HOST_ONLY_PREFIXES)


def server_environment(
    env: Mapping[str, object],
    *,
    configured: Collection[str],
    base_url: str,
    tls: bool,
    forward_hub: bool = True,
) -> ServerEnvironment:
    """Split JupyterHub's environment into what is literal and what depends on the node.

    Parameters
    ----------
    env
        What ``Spawner.get_env()`` gives.
    configured
        Names that the admin set in ``Spawner.environment``: they are sent as they are.
    base_url
        Path of the server below its host, such as ``/user/alice/``.
    tls
        Whether the server speaks HTTPS (JupyterHub's ``internal_ssl``).
    forward_hub
        Whether the hub's API is carried to the node over SSH.

    Raises
    ------
    ValueError
        When the hub's API has no TCP address to forward to.
    """
    literal = {
        name: str(value)
        for name, value in env.items()
        if value is not None and (name in configured or not is_host_only(name))
    }
    templates: dict[str, str] = {}
    forwards: dict[str, str] = {}
    if "JUPYTERHUB_SERVICE_URL" not in configured:
        literal.pop("JUPYTERHUB_SERVICE_URL", None)
        scheme = "https" if tls else "http"
        templates["JUPYTERHUB_SERVICE_URL"] = f"{scheme}://{{address}}:{{port}}{base_url}"
    for name in TLS_FILES:
        if literal.get(name, "").startswith(JOB_DIR):
            templates[name] = literal.pop(name)
    if forward_hub:
        for name in FORWARDED:
            if name in literal and name not in configured:
                url = literal.pop(name)
                forwards[HUB_FORWARD] = host_port(url)
                parts = urlsplit(url)
                templates[name] = f"{parts.scheme}://{{forward:{HUB_FORWARD}}}{parts.path}"
    return ServerEnvironment(literal, templates, forwards)


def host_port(url: str) -> str:
    """``host:port`` of a URL, with the scheme's port when it names none.

    Raises
    ------
    ValueError
        When the URL is not ``http`` or ``https`` over TCP.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{url} is not reachable over TCP")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
