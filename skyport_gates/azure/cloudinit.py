"""What a machine is told for its first boot: a ``#cloud-config`` document.

After it the machine shows the pinned host key, lets in the one login that the job runs as, by
certificates of the core's authority only, and runs the agent that hears of evictions and ends a
forgotten machine. Logins are refused until the bootstrap has ended well (``/etc/nologin``, which
says why if it failed); without a bootstrap they are possible as soon as sshd is up.

Reference: https://docs.cloud-init.io/en/latest/reference/modules.html. The document is JSON, which
is YAML, too.
"""

from __future__ import annotations

import base64
import functools
import importlib.metadata
import json
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..gate import ConfigurationError, InvalidRequest

LIMIT = 65535
"""Bytes that Azure takes as custom data, before base64."""

LIB = "/usr/local/lib/skyport"
NODE_CONF = "/etc/skyport/node.conf"
USER_CA = "/etc/ssh/skyport_user_ca.pub"
# The first value of an sshd setting counts, and files are read in the order of their names.
SSHD_CONF = "/etc/ssh/sshd_config.d/00-skyport.conf"

_LOGIN = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")
_RESERVED = re.compile(
    r"root|daemon|bin|sys|sync|games|man|lp|mail|news|uucp|proxy|www-data|backup|list|irc|gnats"
    r"|nobody|sshd|messagebus|syslog|_apt|_chrony|systemd.*|polkitd|tcpdump|landscape|pollinate|tss|uuidd"
    r"|adm|shutdown|halt|operator|ftp|dbus|chrony|waagent"
    # Groups, which a login of the same name would need for itself.
    r"|sudo|staff|users|disk|tty|kmem|dialout|fax|voice|cdrom|floppy|tape|audio|video|dip|src"
    r"|shadow|utmp|sasl|plugdev|nogroup|input|sgx|kvm|render|crontab|netdev|lxd|docker|wheel"
    r"|ssh|_ssh|admin|rdma"
)
_CONTAINER = re.compile(
    r"[a-z0-9]+([._-]+[a-z0-9]+)*(:\d+)?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
    r"(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_BOOTSTRAPS = ("none", "jupyter", "container")


def installed_jupyterhub() -> str:
    """The version of JupyterHub beside the core, which servers have to match; "" if none."""
    try:
        return importlib.metadata.version("jupyterhub")
    except importlib.metadata.PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class CloudInit:
    """What a machine has to become.

    Attributes
    ----------
    username
        The login.
    user_ca
        Public key (one line) of the authority whose certificates may log in.
    host_key_private, host_key_public
        The machine's ed25519 host key: OpenSSH's private form, and one line.
    bootstrap
        ``none``, ``jupyter`` or ``container``.
    container_image
        For ``container``: the image that servers run in.
    script
        Shell script that runs as root after the bootstrap.
    lease
        Seconds after which a machine that nobody logged in to ends itself; 0: never.
    hostname
        The machine's name; "" leaves it to Azure.
    ssh_port
        Where sshd listens.
    identity, arm_url
        Resource id of the identity by which the machine may delete itself, and the Resource
        Manager's URL; "": it only switches itself off.
    jupyterhub
        Version for ``jupyter``.
    sudo
        Whether the login may become root.
    """

    username: str
    user_ca: str
    host_key_private: str
    host_key_public: str
    bootstrap: str = "none"
    container_image: str = ""
    script: str = ""
    lease: float = 0.0
    hostname: str = ""
    ssh_port: int = 22
    identity: str = ""
    arm_url: str = ""
    jupyterhub: str = field(default_factory=installed_jupyterhub)
    sudo: bool = False


def custom_data(wanted: CloudInit) -> bytes:
    """The document. The same wish gives the same bytes.

    Raises
    ------
    InvalidRequest
        The username cannot be a login of such a machine.
    ConfigurationError
        The bootstrap is incomplete, or all is too long for Azure.
    """
    _check(wanted)
    text = json.dumps(_config(wanted), ensure_ascii=True)
    data = f"#cloud-config\n{text}\n".encode("ascii")
    if len(data) > LIMIT:
        raise ConfigurationError(
            f"What a machine is told for its first boot has {len(data)} bytes; Azure takes {LIMIT}."
            f" The bootstrap_script makes {len(wanted.script.encode())} of them.",
            hint="Shorten c.AzureGate.bootstrap_script; let it fetch what is long.",
        )
    return data


def _check(wanted: CloudInit) -> None:
    name = wanted.username
    if not _LOGIN.fullmatch(name) or _RESERVED.fullmatch(name):
        raise InvalidRequest(
            f"{name!r} cannot be the login of a machine.",
            hint="A login begins with a small letter, has letters, digits, '_', '.' and '-' (32 at "
            "most), and is none of the system's. Set the job's username, or that of the spawner.",
        )
    if wanted.bootstrap not in _BOOTSTRAPS:
        raise ConfigurationError(
            f"bootstrap is {wanted.bootstrap!r}, none of {', '.join(_BOOTSTRAPS)}."
        )
    if wanted.bootstrap == "container" and not _CONTAINER.fullmatch(wanted.container_image):
        raise ConfigurationError(
            f"container_image is {wanted.container_image!r}, not a name such as "
            "'quay.io/jupyterhub/singleuser:5'.",
            hint="Correct c.AzureGate.container_image.",
        )
    if wanted.bootstrap == "jupyter" and not wanted.jupyterhub:
        raise ConfigurationError(
            "bootstrap 'jupyter' needs the hub's version, but no JupyterHub is installed here.",
            hint="Install jupyterhub beside the core, or set c.AzureGate.bootstrap.",
        )


def _config(wanted: CloudInit) -> dict[str, Any]:
    config: dict[str, Any] = {
        "users": [_user(wanted)],
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "ssh_genkeytypes": ["ed25519"],
        "ssh_keys": {
            "ed25519_private": _block(wanted.host_key_private),
            "ed25519_public": _block(wanted.host_key_public),
        },
        "package_update": False,
        "package_upgrade": False,
        # The rest of the usual modules costs seconds and finds nothing to do.
        "cloud_config_modules": ["runcmd"],
        "cloud_final_modules": ["scripts_user", "final_message"],
        "bootcmd": [["sh", "-c", _INCLUDE]],
        "write_files": _files(wanted),
        "runcmd": [
            *([["sh", "-c", _MOVE_SOCKET]] if wanted.ssh_port != 22 else []),
            ["systemctl", "enable", "--now", "skyport-agent.service"],
            [f"{LIB}/bootstrap"],
        ],
    }
    if wanted.bootstrap != "none" or wanted.script:
        # It knows the mirror near the machine.
        config["cloud_config_modules"].insert(0, "apt_configure")
    if wanted.hostname:
        config["hostname"] = wanted.hostname
    return config


_INCLUDE = """\
grep -Eiqs '^ *Include +/etc/ssh/sshd_config\\.d/\\*\\.conf' /etc/ssh/sshd_config || {
    { echo 'Include /etc/ssh/sshd_config.d/*.conf'; cat /etc/ssh/sshd_config; } >/run/sshd_config
    cat /run/sshd_config >/etc/ssh/sshd_config
    rm /run/sshd_config
}"""
"""Images whose sshd does not read the folder: before it starts, let it do so."""

_MOVE_SOCKET = "systemctl daemon-reload; systemctl try-restart ssh.socket || :"
"""Where systemd listens for sshd, it has read the port before it was written."""


def _user(wanted: CloudInit) -> dict[str, Any]:
    user: dict[str, Any] = {
        "name": wanted.username,
        "gecos": "Sky Port",
        "shell": "/bin/bash",
        "lock_passwd": True,
    }
    if wanted.sudo:
        user["sudo"] = "ALL=(ALL) NOPASSWD:ALL"
    return user


def _files(wanted: CloudInit) -> list[dict[str, Any]]:
    files = [
        _file(USER_CA, _block(wanted.user_ca)),
        _file(SSHD_CONF, sshd_config(wanted), mode="0600"),
        _file(NODE_CONF, node_conf(wanted)),
        _file(f"{LIB}/agent", script("agent.sh"), mode="0755"),
        _file(f"{LIB}/bootstrap", script("bootstrap.sh"), mode="0755"),
        _file("/etc/systemd/system/skyport-agent.service", script("skyport-agent.service")),
    ]
    if wanted.bootstrap == "container":
        files.append(_file(f"{LIB}/singleuser", script("singleuser.sh"), mode="0755"))
        # What lies in /run is gone after a sleep.
        place = f"d /run/skyport 0700 {wanted.username} {wanted.username} -\n"
        files.append(_file("/etc/tmpfiles.d/skyport.conf", place))
    if wanted.script:
        own = wanted.script if wanted.script.startswith("#!") else f"#!/bin/sh\n{wanted.script}"
        files.append(_file(f"{LIB}/script", _block(own), mode="0700"))
    if wanted.script or wanted.bootstrap != "none":
        files.append(_file("/etc/nologin", "Sky Port is setting up this machine.\n"))
    return files


def sshd_config(wanted: CloudInit) -> str:
    """sshd's settings: one login, by certificates of the authority, and nothing that is not used.

    Dead connections are dropped, since living ones keep the machine alive.
    """
    lines = [
        "# Made by Sky Port.",
        *([f"Port {wanted.ssh_port}"] if wanted.ssh_port != 22 else []),
        "HostKey /etc/ssh/ssh_host_ed25519_key",
        f"TrustedUserCAKeys {USER_CA}",
        f"AllowUsers {wanted.username}",
        "PermitRootLogin no",
        "AuthorizedKeysFile none",
        "AuthenticationMethods publickey",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "AllowTcpForwarding yes",
        "GatewayPorts no",
        "AllowAgentForwarding no",
        "PermitTunnel no",
        "X11Forwarding no",
        "ClientAliveInterval 30",
        "ClientAliveCountMax 4",
    ]
    return "\n".join(lines) + "\n"


def node_conf(wanted: CloudInit) -> str:
    """The settings of the scripts, as shell variables. Every login may read them."""
    values = {
        "user": wanted.username,
        "port": str(wanted.ssh_port),
        "lease": str(round(wanted.lease)),
        "identity": wanted.identity,
        "arm": wanted.arm_url,
        "bootstrap": wanted.bootstrap,
        "jupyterhub": wanted.jupyterhub if wanted.bootstrap == "jupyter" else "",
        "container_image": wanted.container_image if wanted.bootstrap == "container" else "",
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


@functools.lru_cache
def script(name: str) -> str:
    """A file of the folder ``node``. Blocks when first read."""
    return (Path(__file__).parent / "node" / name).read_text()


def _block(text: str) -> str:
    """With one line end at its end."""
    return text.rstrip("\n") + "\n"


def _file(path: str, content: str, *, mode: str = "0644") -> dict[str, Any]:
    entry = {"path": path, "owner": "root:root", "permissions": mode, "content": content}
    if not re.fullmatch(r"[\t\n\x20-\x7e]*", content):
        # YAML knows fewer characters than JSON can quote.
        encoded = base64.b64encode(content.encode()).decode("ascii")
        return {**entry, "encoding": "b64", "content": encoded}
    return entry
