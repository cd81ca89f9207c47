"""Machines of one's own, listed in the configuration and reached by SSH."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from traitlets import Dict, Float, List, TraitError, Unicode, validate

from .gate import ConfigurationError, Flavor, Node, NodeHealth, SSHEndpoint, StaticGate
from .host_trust import HostTrust
from .inventory import HostConfig, NodeConfig, group_flavors, parse_inventory, public_key
from .node_health import Address, HealthMonitor

START_PATIENCE = 1.0
"""Seconds that start() waits for the first look at the nodes; the rest goes on behind it."""


class OnPremGate(StaticGate):
    """A site of fixed nodes.

    Nothing is installed on the nodes; they need a POSIX ``sh``, an account for each user (or one
    for all, see ``user``) and an sshd that lets the core in: it trusts the core's SSH authority
    (``TrustedUserCAKeys``, the key is printed by ``skyport-core ssh-ca``) or accepts the key in
    ``identity_file``. Every node's host key or host authority must be known.
    """

    inventory = List(
        Dict(),
        help="""
        The nodes, each a dict:

        name, host, cpus, memory
            Required. Memory in MiB (16384) or as text ("16G").
        port, user, identity_file, known_hosts, host_key, host_ca
            How to reach this node, where it differs from the site's own traits. ``host_key``
            and ``host_ca`` take one public key line or a list of them.
        jump
            The host to go through first: a dict with host, port, user, identity_file,
            known_hosts, host_key, host_ca and a further jump.
        gpus, gpu_type, labels, price
            GPU devices and their model; labels that jobs may ask for; USD per hour.
        flavor
            The node type it is offered as. Default: made of its size, as "8cpu-16g-1xA100".
        """,
    ).tag(config=True)

    user = Unicode(
        "{username}",
        help="""
        Login on the nodes; {username} stands for the job's user.
        """,
    ).tag(config=True)

    identity_file = Unicode(
        help="""
        Private key to log in with. Default: none; short-lived certificates of the core's SSH
        authority are used, which the nodes' sshd must trust (TrustedUserCAKeys).
        """,
    ).tag(config=True)

    known_hosts = Unicode(
        help="""
        Path of an OpenSSH known_hosts file with the nodes' host keys. Hashed names and the
        markers @cert-authority and @revoked are understood. It is read again when it changes.
        """,
    ).tag(config=True)

    host_ca = List(
        Unicode(),
        help="""
        Public keys of authorities whose host certificates are accepted from every node.
        """,
    ).tag(config=True)

    health_interval = Float(
        30.0,
        min=0.1,
        help="""
        Seconds between two looks at whether a node answers SSH.
        """,
    ).tag(config=True)

    down_interval = Float(
        5.0,
        min=0.1,
        help="""
        Seconds between two looks at a node that is down.
        """,
    ).tag(config=True)

    health_timeout = Float(
        5.0,
        min=0.1,
        help="""
        Seconds a node has to send its SSH greeting before it counts as down.
        """,
    ).tag(config=True)

    @validate("inventory")
    def _valid_inventory(self, proposal: Any) -> Any:
        try:
            parse_inventory(proposal["value"])
        except ValueError as error:
            raise TraitError(f"OnPremGate.inventory of site {self.name!r}:\n{error}") from None
        return proposal["value"]

    @validate("host_ca")
    def _valid_host_ca(self, proposal: Any) -> Any:
        try:
            return [public_key(line) for line in proposal["value"]]
        except ValueError as error:
            raise TraitError(f"OnPremGate.host_ca of site {self.name!r}: {error}") from None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._nodes: tuple[NodeConfig, ...] = ()
        self._trust = HostTrust((), "", ())
        self._monitor: HealthMonitor | None = None
        self._changing = asyncio.Lock()
        # Reading known_hosts must not queue behind what else blocks in the shared threads.
        self._reader = ThreadPoolExecutor(1, "skyport-known-hosts")

    async def start(self) -> None:
        """Read the keys and begin to look at the nodes.

        Raises ConfigurationError if a file cannot be read or a machine's host key is not known.
        """
        async with self._changing:
            if self._monitor is not None:
                return
            nodes = parse_inventory(self.inventory)
            trust = HostTrust(nodes, self.known_hosts, self.host_ca)
            await asyncio.to_thread(self._check_configuration, nodes, trust)
            self._nodes, self._trust = nodes, trust
            monitor = HealthMonitor(
                {_first_address(node) for node in nodes},
                interval=self.health_interval,
                down_interval=self.down_interval,
                timeout=self.health_timeout,
                changed=self._log_change,
            )
            self._monitor = monitor
            await monitor.start(START_PATIENCE)

    async def close(self, *, idle: bool) -> None:
        """Stop looking at the nodes."""
        async with self._changing:
            monitor, self._monitor = self._monitor, None
            if monitor is not None:
                await monitor.close()

    async def flavors(self) -> list[Flavor]:
        """The kinds of nodes, with how many there are of each."""
        return group_flavors(self._nodes)

    async def nodes(self) -> list[Node]:
        """The nodes with their health as of the last look."""
        loop = asyncio.get_running_loop()
        for fault in await loop.run_in_executor(self._reader, self._trust.refresh):
            self.log.error("Site %s: known hosts stay as they were: %s", self.name, fault)
        return [self._node(config) for config in self._nodes]

    async def check(self, name: str) -> Node:
        """Look at one node now. Raises KeyError for a name that is not in the inventory."""
        config = next((config for config in self._nodes if config.name == name), None)
        if config is None or self._monitor is None:
            raise KeyError(name)
        await self._monitor.check(_first_address(config))
        return self._node(config)

    def _check_configuration(self, nodes: Sequence[NodeConfig], trust: HostTrust) -> None:
        """Raise ConfigurationError with all that is wrong. Blocks: reads files."""
        if not nodes:
            raise ConfigurationError(
                f"Site {self.name!r} has no nodes.", hint="List them in OnPremGate.inventory."
            )
        faults = [f"known_hosts cannot be used: {fault}" for fault in trust.refresh()]
        for node in nodes:
            if missing := trust.missing(node):
                faults.append(f"node {node.name}: {missing}")
            faults += [
                f"node {node.name}: identity_file {path} cannot be read"
                for path in sorted(self._identities(node))
                if not os.access(path, os.R_OK)
            ]
        if faults:
            raise ConfigurationError(
                f"Site {self.name!r} cannot be used:\n" + "\n".join(faults),
                hint="Correct the configuration of this gate; it is looked at again by itself.",
            )

    def _identities(self, host: HostConfig) -> set[Path]:
        identity = self._identity(host)
        own = set() if identity is None else {Path(identity)}
        return own if host.jump is None else own | self._identities(host.jump)

    def _identity(self, host: HostConfig) -> str | None:
        path = host.identity_file or self.identity_file
        return str(Path(path).expanduser()) if path else None

    def _node(self, config: NodeConfig) -> Node:
        reason = self._trust.missing(config) or self._health(config)
        return Node(
            name=config.name,
            endpoint=self._endpoint(config),
            flavor=config.flavor_name,
            cpus=config.cpus,
            memory=config.memory,
            gpus=config.gpus,
            gpu_type=config.gpu_type,
            labels=dict(config.labels),
            health=NodeHealth.DOWN if reason else NodeHealth.UP,
            reason=reason,
        )

    def _endpoint(self, host: HostConfig) -> SSHEndpoint:
        trust = self._trust.of(host)
        return SSHEndpoint(
            host=host.host,
            port=host.port,
            username=host.user or self.user,
            host_keys=trust.host_keys,
            host_cas=trust.host_cas,
            jump=None if host.jump is None else self._endpoint(host.jump),
            identity_file=self._identity(host),
        )

    def _health(self, config: NodeConfig) -> str:
        if self._monitor is None:
            return "its gate is closed"
        reason = self._monitor.reason(_first_address(config))
        return f"its jump host {reason}" if reason and config.jump is not None else reason

    def _log_change(self, address: Address, reason: str) -> None:
        names = ", ".join(node.name for node in self._nodes if _first_address(node) == address)
        if reason:
            self.log.warning("Site %s: down: %s: %s", self.name, names, reason)
        else:
            self.log.info("Site %s: up: %s answers on %s", self.name, names, address)


def _first_address(node: NodeConfig) -> Address:
    """Where the core itself connects to: the outermost jump host, or the node."""
    hop = node.first_hop()
    return Address(hop.host, hop.port)
