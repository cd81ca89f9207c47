"""What stands on a node's disk at its boot: its logins, sshd's settings, and folders to show it."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SHADOWED = ("/dev", "/proc", "/run", "/sys", "/tmp")  # each node has its own of these


@dataclass(frozen=True)
class User:
    """A login of the nodes."""

    name: str
    uid: int

    @property
    def home(self) -> str:
        return f"/home/{self.name}"


USERS = tuple(
    User(name, 20000 + index)
    for index, name in enumerate(["skyport", "alice", "bob", *(f"u{n:02}" for n in range(1, 21))])
)

SSHD_CONFIG = """\
Port 22
HostKey /etc/ssh/ssh_host_ed25519_key
PidFile /run/sshd.pid
TrustedUserCAKeys /etc/ssh/user_ca.pub
AuthorizedKeysFile .ssh/authorized_keys
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
MaxStartups 1000:30:2000
MaxSessions 1000
Subsystem sftp internal-sftp
"""


def write_accounts(folder: Path) -> None:
    """Write ``users`` and the databases of logins below ``etc``, this machine's and ours."""
    lines = {
        "passwd": [f"{u.name}:x:{u.uid}:{u.uid}::{u.home}:/bin/bash\n" for u in USERS],
        "group": [f"{u.name}:x:{u.uid}:\n" for u in USERS],
        "shadow": [f"{u.name}:*:19000:0:99999:7:::\n" for u in USERS],
    }
    for name, own in lines.items():
        path = folder / "etc" / name
        path.write_text(Path("/etc", name).read_text() + "".join(own))
        path.chmod(0o640 if name == "shadow" else 0o644)
    (folder / "users").write_text("".join(lines["passwd"]))


def mounts(paths: Iterable[Path | str]) -> list[str]:
    """What a node must do so that all its users can read these folders: see node_init.sh."""
    opened: dict[str, None] = {}
    bound: dict[str, None] = {}
    root = Path("/").stat().st_dev
    for path in map(os.path.realpath, paths):
        parents = [str(parent) for parent in reversed(Path(path).parents)]
        closed = [parent for parent in parents if not Path(parent).stat().st_mode & 0o001]
        shadowed = path.startswith(tuple(f"{folder}/" for folder in _SHADOWED))
        if closed:
            opened[closed[0]] = None
        if closed or shadowed or Path(path).stat().st_dev != root:
            bound[path] = None
    return [*(f"open {path}\n" for path in opened), *(f"bind {path}\n" for path in bound)]
