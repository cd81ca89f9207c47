"""Opening one SSH connection to an endpoint, with host keys always verified."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import asyncssh
from asyncssh.constants import OPEN_ADMINISTRATIVELY_PROHIBITED

from skyport_gates.gate import SSHEndpoint

from . import ciphers
from .errors import ForwardRefused, HostKeyMismatch, LoginRefused, NodeError, NodeUnreachable
from .identity import SSHIdentity
from .wire import Wire

CIPHERS = (
    *ciphers.ALGORITHMS,
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes256-ctr",
)
"""AES-GCM first: with OpenSSH's own preference, chacha20, a tunnel carries about a third less."""


@dataclass(frozen=True)
class ConnectionSettings:
    """Times in seconds; a silent node is given up after ``keepalive_interval`` x (count + 1)."""

    connect_timeout: float = 10.0
    keepalive_interval: float = 5.0
    keepalive_count: int = 3
    reconnect_max: float = 5.0
    idle_timeout: float = 60.0


@dataclass(frozen=True)
class Dialled:
    """A connection with the connections to the jump hosts that carry it, nearest first."""

    connection: asyncssh.SSHClientConnection
    jumps: tuple[asyncssh.SSHClientConnection, ...] = ()

    async def close(self) -> None:
        """Close the connection, then what carries it, and wait until all is closed."""
        for link in (self.connection, *reversed(self.jumps)):
            link.close()
            await link.wait_closed()

    def abort(self) -> None:
        """Drop everything at once."""
        for link in (self.connection, *reversed(self.jumps)):
            link.abort()


async def dial(
    endpoint: SSHEndpoint, username: str, identity: SSHIdentity, settings: ConnectionSettings
) -> Dialled:
    """Connect and log in, through jump hosts if the endpoint names any.

    Raises
    ------
    NodeUnreachable, HostKeyMismatch, LoginRefused, ForwardRefused
        With the host that caused it in the message.
    """
    carrier: Dialled | None = None
    if endpoint.jump is not None:
        carrier = await dial(endpoint.jump, username, identity, settings)
    try:
        connection = await _connect(endpoint, username, identity, settings, carrier)
    except BaseException:
        if carrier is not None:
            carrier.abort()
        raise
    if carrier is None:
        return Dialled(connection)
    return Dialled(connection, (*carrier.jumps, carrier.connection))


async def _connect(
    endpoint: SSHEndpoint,
    username: str,
    identity: SSHIdentity,
    settings: ConnectionSettings,
    carrier: Dialled | None,
) -> asyncssh.SSHClientConnection:
    login = endpoint.username.replace("{username}", username)
    name = f"{login}@{endpoint.host}:{endpoint.port}"
    keys = identity.client_keys(login, endpoint.identity_file)
    try:
        return await asyncssh.connect(
            endpoint.host,
            endpoint.port,
            tunnel=Wire() if carrier is None else carrier.connection,
            config=None,
            username=login,
            client_keys=keys,
            known_hosts=_trusted(endpoint),
            agent_path=None,
            preferred_auth=("publickey",),
            gss_kex=False,
            gss_auth=False,
            encryption_algs=CIPHERS,
            compression_algs=("none",),
            connect_timeout=settings.connect_timeout,
            login_timeout=settings.connect_timeout,
            keepalive_interval=settings.keepalive_interval,
            keepalive_count_max=settings.keepalive_count,
        )
    except (OSError, asyncio.TimeoutError, asyncssh.Error) as error:
        raise _explain(error, name, settings) from error


def _trusted(
    endpoint: SSHEndpoint,
) -> tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]]:
    try:
        keys = [asyncssh.import_public_key(line) for line in endpoint.host_keys]
        authorities = [asyncssh.import_public_key(line) for line in endpoint.host_cas]
    except asyncssh.KeyImportError as error:
        raise HostKeyMismatch(
            f"A host key given for {endpoint.host} is not a public key: {error}.",
            hint="An admin must put one OpenSSH public key line into each host_keys entry.",
        ) from error
    return keys, authorities, []


def _explain(error: Exception, name: str, settings: ConnectionSettings) -> NodeError:
    text = str(error)
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        text = os.strerror(error.errno)
    if isinstance(error, asyncssh.HostKeyNotVerifiable) or (
        isinstance(error, asyncssh.KeyExchangeFailed) and "host key" in text.lower()
    ):
        return HostKeyMismatch(
            f"{name} showed a host key that is not the one recorded for it.",
            hint="If the machine was installed anew, an admin must record its new host key.",
        )
    if isinstance(error, asyncssh.PermissionDenied):
        return LoginRefused(
            f"{name} refused the login.",
            hint=(
                "The account must exist there, and its sshd must trust the core's user CA "
                "(TrustedUserCAKeys) or accept the configured key."
            ),
        )
    if isinstance(error, asyncssh.ChannelOpenError):
        if error.code == OPEN_ADMINISTRATIVELY_PROHIBITED:
            return ForwardRefused(
                f"The jump host refuses to forward to {name}.",
                hint="Its sshd needs AllowTcpForwarding yes.",
            )
        return NodeUnreachable(f"The jump host cannot reach {name}: {text}.")
    if isinstance(error, asyncio.TimeoutError):
        return NodeUnreachable(
            f"{name} did not answer SSH within {settings.connect_timeout:g} s.",
            hint="Check that the machine is up and its SSH port is open to the core.",
        )
    return NodeUnreachable(
        f"No SSH connection to {name}: {text or type(error).__name__}.",
        hint="Check that the machine is up and its sshd runs.",
    )
