"""Logging in to a node by certificate, as the core does, for tests of gates."""

from __future__ import annotations

import datetime as dt
from typing import Any

import asyncssh

from skyport_gates.gate import SSHEndpoint


class Authority:
    """An SSH authority of a test's own, and connections that it certifies."""

    def __init__(self) -> None:
        self.key = asyncssh.generate_private_key("ssh-ed25519")

    @property
    def public_key(self) -> str:
        """The line that a node must trust."""
        return self.key.export_public_key().decode().strip()

    def certificate(
        self, *principals: str, seconds: float = 600, **options: Any
    ) -> tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]:
        """A new key with a certificate for the named logins, valid for ``seconds``."""
        key = asyncssh.generate_private_key("ssh-ed25519")
        now = dt.datetime.now(dt.timezone.utc)
        certificate = self.key.generate_user_certificate(
            key,
            "test",
            principals=list(principals),
            valid_after=now - dt.timedelta(hours=1),
            valid_before=now + dt.timedelta(seconds=seconds),
            **options,
        )
        return key, certificate

    def connect(self, endpoint: SSHEndpoint, username: str, **changes: Any) -> Any:
        """``asyncssh.connect`` to an endpoint without a jump host, its host key verified."""
        keys = [asyncssh.import_public_key(line) for line in endpoint.host_keys]
        options: dict[str, Any] = {
            "config": None,
            "agent_path": None,
            "username": username,
            "client_keys": [self.certificate(username)],
            "known_hosts": (keys, [], []),
            "preferred_auth": "publickey",
            "connect_timeout": 10,
        }
        return asyncssh.connect(endpoint.host, endpoint.port, **{**options, **changes})
