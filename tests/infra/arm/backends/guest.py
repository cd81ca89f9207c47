"""A machine of the cloud on a fabric: it begins without users, host keys and settings.

Its disk lies above this machine's root file system and outlives a shutdown; what it is to be, it
learns from its custom data at the first boot.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.infra import netns
from tests.infra.arm.cloudinit import Seed
from tests.infra.arm.metadata import IMDS, WIRE_SERVER
from tests.infra.nodes import CHECKOUT, Fabric, Node, needed_mounts
from tests.infra.run import MARKER, RUN_ID, forget, record_dir, wait_until

_ARM = Path(__file__).parents[1]
_PYTHON = f"{sys.executable} -I -B"
_FIRST = "/usr/lib/guest/init"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# As the distribution ships it, but for PAM, which cannot log anybody in without a login manager.
_SSHD_CONFIG = """\
Include /etc/ssh/sshd_config.d/*.conf
PidFile /run/sshd.pid
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
PrintMotd no
AcceptEnv LANG LC_*
Subsystem sftp /usr/lib/openssh/sftp-server
"""


class Disks:
    """Where the disks of machines lie, in memory, also while they are switched off."""

    def __init__(self, fabric: Fabric) -> None:
        self._folder = record_dir(f"{fabric.hub.name}-disks")
        script = (
            'mount --make-rprivate / && mount -t tmpfs -o mode=755 tmpfs "$1" && echo && exec cat'
        )
        # The mount exists in this process's namespace only and goes with it.
        self._keeper = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", script, "sh", str(self._folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        if not self._keeper.stdout.readline():
            raise RuntimeError("no room for disks: mount namespaces need root")

    @property
    def namespace(self) -> str:
        """The mount namespace in which :meth:`folder` is what it says."""
        return f"/proc/{self._keeper.pid}/ns/mnt"

    def folder(self, name: str) -> Path:
        """A disk's folder, as seen inside the namespace."""
        return self._folder / name

    def make(self, name: str) -> None:
        """Make an empty disk."""
        for part in ("upper", "work", "root"):
            self.outside(name, part).mkdir(parents=True)

    def outside(self, name: str, *parts: str) -> Path:
        """A path on a disk, as seen from here."""
        root = Path(f"/proc/{self._keeper.pid}/root{self._folder}")
        return root.joinpath(name, *parts)

    def names(self) -> list[str]:
        """The disks that exist."""
        return sorted(path.name for path in self.outside("").iterdir())

    def remove(self, name: str) -> None:
        """Remove a disk."""
        shutil.rmtree(self.outside(name))

    def close(self) -> None:
        """Remove all disks."""
        self._keeper.kill()
        self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        forget(self._folder)


class Guest(Node):
    """One virtual machine.

    Parameters
    ----------
    fabric
        Its network.
    disks
        Where its disk lies.
    name
        Its host name, until cloud-init gives it another one.
    """

    def __init__(self, fabric: Fabric, disks: Disks, name: str) -> None:
        self._disks = disks
        super().__init__(fabric, name)
        self._metadata_routes()

    def boot_with(self, seed: Seed, *, cable: bool = True) -> None:
        """Switch it on; it is not waited for."""
        self._disk("var/lib/waagent/seed.json").write_text(seed.to_json())
        self.link(cable)
        prefix = (*self._namespace.command_prefix[:-1], f"--mount={self._disks.namespace}", "--")
        variables = {
            "PATH": _PATH,
            "LANG": "C.UTF-8",
            MARKER: os.environ.get(MARKER, RUN_ID),
            "DISK": str(self._disks.folder(self._port)),
            "FIRST": _FIRST,
            "CLOUD_INIT": f"{_PYTHON} {_ARM}/cloudinit.py",
        }
        self._start(prefix, variables)

    @property
    def pid(self) -> int:
        """A process of this machine that ends when the guest is off."""
        assert self._unshare is not None, f"{self.name} is off"
        return self._unshare.pid

    def collect(self) -> None:
        """Take note that it switched itself off."""
        self.link(False)
        if self._unshare is not None:
            self._unshare.wait()
            self._unshare = None

    def remove(self) -> None:
        """Switch it off and remove it with its disk."""
        super().remove()
        with contextlib.suppress(FileNotFoundError):
            self._disks.remove(self._port)

    def _enter(self) -> list[str]:
        """Words before a command; waits until the machine stands on its own disk."""
        wait_until(self._on_its_disk, f"first process of {self.name}")
        return super()._enter()

    def _on_its_disk(self) -> bool:
        with contextlib.suppress(LookupError):
            return Path(f"/proc/{self._init_pid()}/root{_FIRST}").exists()
        return False

    def _disk(self, path: str) -> Path:
        return self._disks.outside(self._port, "upper", path)

    def _metadata_routes(self) -> None:
        routes = [f"route add {address} dev eth0" for address in (IMDS, WIRE_SERVER)]
        netns.ip(*routes, inside=self._namespace.name)

    def _write_files(self, sshd_config: str) -> None:
        self._disks.make(self._port)
        (self._folder / "etc").mkdir()
        (self._folder / "users").touch()
        (self._folder / "mounts").write_text("".join(needed_mounts()))
        (self._folder / "init.log").touch()
        own = CHECKOUT / "tests/infra/arm/guest"
        systemctl = f'#!/bin/sh\nexec {_PYTHON} {own}/systemctl.py "$@"\n'
        shutdown = (own / "shutdown.sh").read_text()
        for path, text, mode in (
            ("etc/ssh/sshd_config", _SSHD_CONFIG + sshd_config, 0o644),
            (_FIRST.lstrip("/"), (own / "init.sh").read_text(), 0o644),
            ("usr/bin/systemctl", systemctl, 0o755),
            *((f"usr/sbin/{name}", shutdown, 0o755) for name in ("shutdown", "poweroff", "halt")),
            ("var/lib/waagent/seed.json", "", 0o600),
        ):
            file = self._disk(path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(mode)
