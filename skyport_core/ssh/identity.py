"""The core's SSH certificate authority and the short-lived logins it signs."""

from __future__ import annotations

import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from .errors import LoginRefused

CERTIFICATE_LIFETIME = 600
"""Seconds a user certificate is valid: enough to log in, worthless soon after."""

RENEW_BEFORE = 120
"""A certificate with fewer seconds left is not offered any more."""

CLOCK_SKEW = 300
"""Seconds that a node's clock may be behind the core's."""

ClientKeys = list["asyncssh.SSHKey | tuple[asyncssh.SSHKey, asyncssh.SSHCertificate]"]


@dataclass(frozen=True)
class _Login:
    keys: ClientKeys
    expires: float


class SSHIdentity:
    """Who the core is towards nodes.

    A node that trusts :attr:`user_ca` (``TrustedUserCAKeys``) lets the core in with a certificate
    for one user name, valid for ten minutes, over a key that never leaves this process.

    Parameters
    ----------
    ca : asyncssh.SSHKey
        Private key of the authority.
    name : str
        Names the core in each certificate's key id, hence in the nodes' logs.
    """

    def __init__(self, ca: asyncssh.SSHKey, *, name: str = "skyport-core") -> None:
        self._ca = ca
        self._name = name
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._logins: dict[str, _Login] = {}

    @classmethod
    def load(cls, home: Path, *, name: str = "skyport-core") -> SSHIdentity:
        """Read the authority's key from ``home/ssh/ca``; make it on first use.

        Raises
        ------
        OSError, asyncssh.KeyImportError
            The key cannot be read or written.
        """
        path = _path(home)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.chmod(0o700)
        if not path.exists():
            _write_new_key(path)
        path.chmod(0o600)
        return cls(asyncssh.read_private_key(path), name=name)

    @staticmethod
    def exists(home: Path) -> bool:
        """Whether this home has an authority already."""
        return _path(home).exists()

    @property
    def user_ca(self) -> str:
        """Public key of the authority as one OpenSSH line."""
        return self._ca.export_public_key().decode().strip()

    def client_keys(self, username: str, identity_file: str | None = None) -> ClientKeys:
        """What to offer when logging in as ``username``.

        Parameters
        ----------
        username : str
            The login name; the certificate is good for this principal alone.
        identity_file : str or None
            A private key file to use instead of a certificate; a certificate beside it
            (``FILE-cert.pub``) is offered too.

        Raises
        ------
        LoginRefused
            The key file cannot be used.
        """
        if identity_file is not None:
            return _read_identity(Path(identity_file).expanduser())
        now = time.time()
        login = self._logins.get(username)
        if login is None or login.expires - now < RENEW_BEFORE:
            self._logins = {name: old for name, old in self._logins.items() if old.expires > now}
            login = self._logins[username] = self._sign(username, now)
        return login.keys

    def _sign(self, username: str, now: float) -> _Login:
        expires = now + CERTIFICATE_LIFETIME
        certificate = self._ca.generate_user_certificate(
            self._key,
            key_id=f"{self._name} for {username}",
            serial=secrets.randbits(63),
            principals=[username],
            valid_after=int(now - CLOCK_SKEW),
            valid_before=int(expires),
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_port_forwarding=True,
            permit_pty=True,
            permit_user_rc=False,
        )
        return _Login([(self._key, certificate)], expires)


def _path(home: Path) -> Path:
    return home / "ssh" / "ca"


def _write_new_key(path: Path) -> None:
    """Write a fresh key so that the file is whole or absent; the first of two writers wins."""
    key = asyncssh.generate_private_key("ssh-ed25519", comment="skyport-ca")
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.export_private_key())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
    finally:
        draft.unlink()


def _read_identity(path: Path) -> ClientKeys:
    try:
        key = asyncssh.read_private_key(path)
        keys: ClientKeys = [key]
        certificate = path.with_name(f"{path.name}-cert.pub")
        if certificate.exists():
            keys.insert(0, (key, asyncssh.read_certificate(certificate)))
    except (OSError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise LoginRefused(
            f"The private key {path} cannot be used: {error}.",
            hint="An admin must name a readable key without passphrase as identity_file.",
        ) from error
    return keys
