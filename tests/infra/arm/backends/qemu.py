"""Virtual machines that are emulated PCs with Debian and cloud-init's own Azure datasource.

Slow, since nothing of the processor is used but its arithmetic (QEMU's TCG): about half a minute
to SSH. ``make qemu-image`` prepares what it needs. A machine reaches nothing but its host: the
metadata service and the wire server. Its SSH port appears at port 22 of a loopback address of its
own, inside the fabric's hub namespace, so that it looks as any machine of a network does.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import itertools
import json
import os
import shlex
import socket
import subprocess
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from tests.infra.arm.backends import BootFailed, Listener, Machine
from tests.infra.arm.backends.exits import ExitWatch
from tests.infra.arm.backends.turns import Turns
from tests.infra.arm.metadata import IMDS, WIRE_SERVER, Host, Metadata
from tests.infra.nodes import Fabric
from tests.infra.run import short_folder

IMAGE = Path(
    os.environ.get("SKYPORT_QEMU_IMAGE") or Path.home() / ".cache/skyport-tests/qemu"
).expanduser()
_GUEST = "160.0.2.15"  # in a network that holds Azure's two well-known addresses
_NETWORK = "restrict=y,net=160.0.0.0/4,host=160.0.2.2,dns=160.0.2.3,dhcpstart=160.0.2.15"
_AZURE_CHASSIS = "7783-7084-3265-9085-8269-3286-77"  # by which cloud-init knows Azure
_MAC = "02:00:0a:4d:00:01"

_OVF = """\
<?xml version="1.0" encoding="utf-8"?>
<Environment xmlns="http://schemas.dmtf.org/ovf/environment/1"
    xmlns:wa="http://schemas.microsoft.com/windowsazure"
    xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <wa:ProvisioningSection>
    <wa:Version>1.0</wa:Version>
    <wa:LinuxProvisioningConfigurationSet>
      <wa:ConfigurationSetType>LinuxProvisioningConfiguration</wa:ConfigurationSetType>
      <wa:UserName>{username}</wa:UserName>
      <wa:DisableSshPasswordAuthentication>true</wa:DisableSshPasswordAuthentication>
      <wa:HostName>{hostname}</wa:HostName>
      <wa:CustomData>{custom_data}</wa:CustomData>
      <wa:SSH><wa:PublicKeys>{keys}</wa:PublicKeys></wa:SSH>
    </wa:LinuxProvisioningConfigurationSet>
  </wa:ProvisioningSection>
  <wa:PlatformSettingsSection>
    <wa:Version>1.0</wa:Version>
    <wa:PlatformSettings>
      <wa:ProvisionGuestAgent>false</wa:ProvisionGuestAgent>
      <wa:PreprovisionedVm>false</wa:PreprovisionedVm>
    </wa:PlatformSettings>
  </wa:PlatformSettingsSection>
</Environment>
"""


def ovf_env(machine: Machine) -> str:
    """What Azure burns on the provisioning disc: ``ovf-env.xml``."""
    path = f"/home/{machine.admin_username}/.ssh/authorized_keys"
    keys = "".join(
        f"<wa:PublicKey><wa:Path>{escape(path)}</wa:Path>"
        f"<wa:Value>{escape(key)}</wa:Value></wa:PublicKey>"
        for key in machine.public_keys
    )
    return _OVF.format(
        username=escape(machine.admin_username or "azureuser"),
        hostname=escape(str(machine.os_profile.get("computerName") or machine.name)),
        custom_data=base64.b64encode(machine.custom_data).decode(),
        keys=keys,
    )


class _Pc:
    """One emulated PC: its files, its process, its host's side."""

    def __init__(self, fabric: Fabric, machine: Machine, address: str, host: Host) -> None:
        self.machine, self.address, self.host = machine, address, host
        self.off = asyncio.Event()
        self.watch: ExitWatch | None = None
        self.process: subprocess.Popen[bytes] | None = None
        self._fabric = fabric
        self._stack = contextlib.ExitStack()
        self.folder = self._stack.enter_context(short_folder("vm"))

    def make_disk(self) -> None:
        """An empty layer over the image, and the provisioning disc."""
        disc = self.folder / "disc"
        disc.mkdir()
        (disc / "ovf-env.xml").write_text(ovf_env(self.machine))
        overlay = ["-f", "qcow2", "-b", str(IMAGE / "base.qcow2"), "-F", "qcow2"]
        for command in (
            ["qemu-img", "create", "-q", *overlay, str(self.folder / "disk.qcow2")],
            ["genisoimage", "-quiet", "-udf", "-o", str(self.folder / "disc.iso"), str(disc)],
        ):
            subprocess.run(command, check=True)

    def switch_on(self, metadata_port: int) -> None:
        """Start the emulator; ``metadata_port`` is where its host's services listen."""
        forward = f"cmd:nc 127.0.0.1 {metadata_port}"
        net = f"user,id=n0,{_NETWORK},hostfwd=tcp:{self.address}:22-{_GUEST}:22"
        net += f",guestfwd=tcp:{IMDS}:80-{forward},guestfwd=tcp:{WIRE_SERVER}:80-{forward}"
        options = f"""
            -name {shlex.quote(self.machine.name)} -uuid {self.machine.vm_id}
            -accel tcg,thread=multi,tb-size=512 -cpu max -smp 2 -m 1024 -machine q35
            -smbios type=3,asset={_AZURE_CHASSIS} -display none -nodefaults -no-user-config
            -serial file:serial.log -qmp unix:qmp,server=on,wait=off
            -kernel {IMAGE}/vmlinuz -initrd {IMAGE}/initrd.img
            -append "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0"
            -drive file=disk.qcow2,if=virtio,format=qcow2,cache=unsafe
            -device virtio-scsi-pci -device scsi-cd,drive=disc
            -drive file=disc.iso,if=none,id=disc,media=cdrom,readonly=on
            -device virtio-net-pci,netdev=n0,mac={_MAC} -device virtio-rng-pci
        """
        command = ["qemu-system-x86_64", *shlex.split(options), "-netdev", net]
        with (self.folder / "qemu.log").open("ab") as log:
            self.process = self._fabric.popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def press_power_button(self) -> None:
        """Ask the guest to shut down."""
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5)
            control.connect(str(self.folder / "qmp"))
            with control.makefile("rw") as lines:
                for command in ("qmp_capabilities", "system_powerdown"):
                    lines.write(json.dumps({"execute": command}) + "\n")
                    lines.flush()
                    while "return" not in json.loads(lines.readline()):
                        pass

    def switch_off(self, grace: float) -> None:
        """Shut down, within ``grace`` seconds, else pull the plug."""
        if self.process is None:
            return
        if grace:
            self.press_power_button()
        try:
            self.process.wait(grace)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def log(self) -> str:
        """What it wrote to its serial line."""
        path = self.folder / "serial.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def remove(self) -> None:
        """Pull the plug and remove the disk."""
        self.switch_off(0)
        self._stack.close()


class QemuBackend:
    """The backend of emulated PCs.

    Parameters
    ----------
    fabric
        In its hub namespace the machines' addresses exist.
    boot_timeout
        Seconds after which a machine that did not report failed to boot.
    """

    def __init__(self, fabric: Fabric, *, boot_timeout: float = 300.0) -> None:
        self.listener: Listener | None = None
        self._fabric = fabric
        self._boot_timeout = boot_timeout
        self._turns = Turns()
        self._numbers = itertools.count(1)
        self._pcs: dict[str, _Pc] = {}
        self._metadata: dict[str, tuple[Metadata, int]] = {}

    async def create(self, machine: Machine) -> str:
        """Begin to boot a new machine; its address."""
        return await self._turns.take(machine, self._create(machine))

    async def booted(self, machine: Machine) -> None:
        """Return when it reported; BootFailed when it went off, failed or took too long."""
        pc = self._pcs.get(machine.id.lower())
        if pc is None:
            raise BootFailed(f"VM '{machine.name}' does not exist any more.", "NotFound")
        waits = [asyncio.ensure_future(event.wait()) for event in (pc.host.ready, pc.off)]
        try:
            await asyncio.wait(
                waits, timeout=self._boot_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        if pc.host.failure or not pc.host.ready.is_set():
            reason = pc.host.failure or "it did not report in time"
            raise BootFailed(f"OS Provisioning for VM '{machine.name}' failed: {reason}.")

    async def stop(self, machine: Machine) -> None:
        """Shut it down."""
        await self._turns.take(machine, self._stop(machine))

    async def start(self, machine: Machine) -> str:
        """Boot it again from its disk."""
        return await self._turns.take(machine, self._start(machine))

    async def delete(self, machine: Machine) -> None:
        """Remove it with its disk."""
        await self._turns.take(machine, self._delete(machine))

    async def notice(self, machine: Machine, event: dict[str, Any]) -> None:
        """Show it a scheduled event."""
        if pc := self._pcs.get(machine.id.lower()):
            pc.host.notice(event)

    async def serial_log(self, machine: Machine) -> str:
        """What it wrote to its serial line since it was last switched on."""
        pc = self._pcs.get(machine.id.lower())
        return pc.log() if pc else ""

    async def close(self) -> None:
        """Remove all machines."""
        await self._turns.over()
        for pc in list(self._pcs.values()):
            await self.delete(pc.machine)

    async def _create(self, machine: Machine) -> str:
        await self._delete(machine)
        address = f"127.32.0.{next(self._numbers)}"
        host = Host(machine, _MAC.replace(":", "").upper())
        pc = _Pc(self._fabric, machine, address, host)
        self._pcs[machine.id.lower()] = pc
        metadata = Metadata(lambda _: host, lambda: self.listener)
        listening = self._fabric.hub.socket()
        listening.bind(("127.0.0.1", 0))
        self._metadata[address] = (metadata, int(listening.getsockname()[1]))
        await metadata.start(listening)
        await asyncio.to_thread(pc.make_disk)
        await self._boot(pc)
        return address

    async def _stop(self, machine: Machine) -> None:
        pc = self._pcs[machine.id.lower()]
        self._unwatch(pc)
        await asyncio.to_thread(pc.switch_off, 60)
        pc.host.ready.clear()

    async def _start(self, machine: Machine) -> str:
        pc = self._pcs[machine.id.lower()]
        pc.host.events.clear()
        if pc.process is None:
            await self._boot(pc)
        return pc.address

    async def _delete(self, machine: Machine) -> None:
        pc = self._pcs.pop(machine.id.lower(), None)
        if pc:
            self._unwatch(pc)
            await asyncio.to_thread(pc.remove)
            metadata, _ = self._metadata.pop(pc.address)
            await metadata.close()
            pc.off.set()

    async def _boot(self, pc: _Pc) -> None:
        pc.off.clear()
        _, port = self._metadata[pc.address]
        await asyncio.to_thread(pc.switch_on, port)
        assert pc.process is not None
        pc.watch = ExitWatch(pc.process.pid, functools.partial(self._switched_off, pc))

    def _switched_off(self, pc: _Pc) -> None:
        pc.switch_off(0)
        pc.host.ready.clear()
        pc.off.set()
        if self.listener:
            self.listener.powered_off(pc.machine)

    def _unwatch(self, pc: _Pc) -> None:
        if pc.watch:
            pc.watch.cancel()
