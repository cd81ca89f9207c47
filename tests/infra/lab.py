"""Configurations that put a core and a hub over a fabric's nodes."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.infra.core import CoreProcess
from tests.infra.nodes import Node

PYTHON = f"{sys.prefix}/bin/python"
NOTEBOOK = [f"{sys.prefix}/bin/jupyterhub-singleuser"]
TINY = [PYTHON, str(Path(__file__).with_name("tiny_server.py"))]

QUICK = {  # seconds; what is minutes for people is seconds for tests
    "connect_timeout": 3,
    "keepalive_interval": 1,
    "keepalive_count": 2,
    "stop_grace": 1,
}


def lab_config(nodes: Iterable[Node], *, cpus: float = 4, **options: object) -> str:
    """A core with one on-prem site, "lab"; ``options`` are traits of SkyPortCore."""
    inventory = [
        {
            "name": node.name,
            "host": node.address,
            "host_key": node.host_key,
            "cpus": cpus,
            "memory": 8192,
        }
        for node in nodes
    ]
    lines = [f'c.SkyPortCore.gates = {{"lab": {{"class": "onprem", "inventory": {inventory!r}}}}}']
    lines += [f"c.SkyPortCore.{name} = {value!r}" for name, value in (QUICK | options).items()]
    return "\n".join(["c = get_config()", *lines, ""])


def hub_config(core: CoreProcess, command: Sequence[str], **options: object) -> str:
    """A hub whose servers run ``command`` through that core; ``options`` are spawner traits."""
    settings = {"cmd": list(command), "core_socket": str(core.socket), **options}
    lines = [f"c.SkyPortSpawner.{name} = {value!r}" for name, value in settings.items()]
    return "\n".join(['c.JupyterHub.spawner_class = "skyport"', *lines, ""])
