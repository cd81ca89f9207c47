"""Which host keys and host authorities to accept from a machine; known_hosts files included."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from .inventory import HostConfig, public_key

SSH_PORT = 22


@dataclass(frozen=True)
class Trust:
    """The keys that prove a machine to be itself, as OpenSSH public key lines."""

    host_keys: tuple[str, ...] = ()
    host_cas: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.host_keys or self.host_cas)


class KnownHostsFile:
    """An OpenSSH known_hosts file that is read again when it changes on disk."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        self._signature: tuple[int, int, int] | None = None
        self._hosts = asyncssh.SSHKnownHosts()

    def refresh(self) -> bool:
        """Read the file if it changed; True if it did.

        Raises OSError if it cannot be read and ValueError if it is malformed; what was read
        before stays in use, and the same fault is reported once.
        """
        try:
            status = os.stat(self.path)  # noqa: PTH116 - one call, three fields
        except OSError:
            reported, self._signature = self._signature == (0, 0, 0), (0, 0, 0)
            if reported:
                return False
            raise
        signature = (status.st_mtime_ns, status.st_size, status.st_ino)
        if signature == self._signature:
            return False
        self._signature = signature
        self._hosts = asyncssh.read_known_hosts(str(self.path))
        return True

    def find(self, host: str, port: int) -> tuple[set[str], set[str], set[str]]:
        """Keys, authorities and revoked keys for a machine.

        As with OpenSSH, lines for ``[host]:port`` go before lines for the bare host; a revoked
        key is revoked under either name.
        """
        named_port = None if port == SSH_PORT else port
        keys, authorities, revoked = self._hosts.match(host, "", named_port)[:3]
        revoked_anywhere = [*revoked, *self._hosts.match(host, "", None)[2]]
        return _lines(keys), _lines(authorities), _lines(revoked_anywhere)


def _lines(keys: Iterable[asyncssh.SSHKey]) -> set[str]:
    return {public_key(key.export_public_key().decode()) for key in keys}


class HostTrust:
    """What to accept from each machine of a site.

    Parameters
    ----------
    hosts : sequence of HostConfig
        The machines, without their jump hosts (these are found).
    known_hosts : str
        Path of the site's own known_hosts file, or "".
    host_cas : sequence of str
        Authorities whose host certificates are accepted from every machine of the site.
    """

    def __init__(
        self, hosts: Sequence[HostConfig], known_hosts: str, host_cas: Sequence[str]
    ) -> None:
        self._hosts = tuple(_with_jumps(hosts))
        self._site_file = known_hosts
        self._site_cas = tuple(host_cas)
        paths = {known_hosts} | {host.known_hosts or "" for host in self._hosts}
        self._files = {path: KnownHostsFile(path) for path in sorted(paths) if path}
        self._trust: dict[_TrustKey, Trust] = {}

    def refresh(self) -> list[Exception]:
        """Read the files that changed; the faults found on the way. Blocks: call it in a thread."""
        faults: list[Exception] = []
        changed = not self._trust
        for file in self._files.values():
            try:
                changed = file.refresh() or changed
            except (OSError, ValueError) as error:
                faults.append(error)
        if changed:
            self._trust = {_trust_key(host): self._find(host) for host in self._hosts}
        return faults

    def of(self, host: HostConfig) -> Trust:
        """What to accept from ``host``, as of the last refresh."""
        return self._trust.get(_trust_key(host), Trust())

    def missing(self, host: HostConfig) -> str:
        """Which machine on the way to ``host`` has no key, and what to do; "" if all have one."""
        via = host.jump
        if via is not None and (missing := self.missing(via)):
            return missing
        if self.of(host):
            return ""
        where = self._site_file or host.known_hosts or "known_hosts"
        scan = f"ssh-keyscan -p {host.port} {host.host}"
        if via is not None:
            scan = f"ssh -p {via.port} {via.host} {scan}"
        return (
            f"no host key is known for {host.host}:{host.port}: set host_key, host_ca or "
            f"known_hosts, for example with `{scan} >> {where}`, and compare the fingerprint"
        )

    def _find(self, host: HostConfig) -> Trust:
        keys, authorities = set(host.host_key), {*host.host_ca, *self._site_cas}
        revoked: set[str] = set()
        for path in {self._site_file, host.known_hosts or ""} - {""}:
            more_keys, more_authorities, more_revoked = self._files[path].find(host.host, host.port)
            keys |= more_keys
            authorities |= more_authorities
            revoked |= more_revoked
        return Trust(tuple(sorted(keys - revoked)), tuple(sorted(authorities - revoked)))


_TrustKey = tuple[str, int, str, tuple[str, ...], tuple[str, ...]]


def _trust_key(host: HostConfig) -> _TrustKey:
    return host.host, host.port, host.known_hosts or "", host.host_key, host.host_ca


def _with_jumps(hosts: Iterable[HostConfig]) -> Iterable[HostConfig]:
    for host in hosts:
        yield host
        if host.jump is not None:
            yield from _with_jumps([host.jump])
