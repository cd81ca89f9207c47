"""Virtual machines that are real OpenSSH servers on a fabric and obey their custom data."""

from __future__ import annotations

import asyncio
import fnmatch
import functools
import socket
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from tests.infra import netns
from tests.infra.arm.backends import BootFailed, Listener, Machine
from tests.infra.arm.backends.exits import ExitWatch
from tests.infra.arm.backends.guest import Disks, Guest
from tests.infra.arm.backends.turns import Turns
from tests.infra.arm.cloudinit import Seed
from tests.infra.arm.metadata import IMDS, WIRE_SERVER, Host, Metadata
from tests.infra.nodes import NETWORK, Fabric


@dataclass
class Trouble:
    """What goes wrong with the next boots.

    Attributes
    ----------
    match
        Names of the machines it strikes, as a pattern.
    times
        How many boots it spoils.
    delay
        Seconds before the machine does anything.
    mute
        It boots but never reports that it is provisioned: the create operation fails.
    silent
        It reports, but its sshd never starts.
    other_host_key
        It makes host keys of its own in place of those asked for.
    unplugged
        Its cable is out.
    dies
        It switches itself off before it reports.
    """

    match: str = "*"
    times: int = 1
    delay: float = 0
    mute: bool = False
    silent: bool = False
    other_host_key: bool = False
    unplugged: bool = False
    dies: bool = False

    def words(self) -> list[str]:
        """The troubles that the machine makes by itself, for its seed."""
        named = {"mute": self.mute, "silent": self.silent, "other-host-key": self.other_host_key}
        words = [word for word, on in {**named, "dies": self.dies}.items() if on]
        return [*words, *([f"delay={self.delay}"] if self.delay else [])]


class _Vm:
    """A machine of the backend: its guest, its host's side, and whether it is on."""

    def __init__(self, host: Host, guest: Guest) -> None:
        self.host = host
        self.guest = guest
        self.off = asyncio.Event()
        self.watch: ExitWatch | None = None


class NodeBackend:
    """The backend whose machines boot in a fraction of a second.

    Parameters
    ----------
    fabric
        The network that the machines get addresses of; root only.
    boot_timeout
        Seconds after which a machine that did not report failed to boot.
    """

    def __init__(self, fabric: Fabric, *, boot_timeout: float = 20.0) -> None:
        self.listener: Listener | None = None
        self.troubles: list[Trouble] = []
        self._fabric = fabric
        self._boot_timeout = boot_timeout
        self._disks: Disks | None = None
        self._metadata = Metadata(self._caller, lambda: self.listener)
        self._opening = asyncio.Lock()
        self._turns = Turns()
        self._vms: dict[str, _Vm] = {}
        self._hosts: dict[str, Host] = {}

    # -- the protocol of backends --------------------------------------------------------------

    async def create(self, machine: Machine) -> str:
        """Begin to boot a new machine; its address."""
        return await self._turns.take(machine, self._create(machine))

    async def booted(self, machine: Machine) -> None:
        """Return when it reported; BootFailed when it went off or took too long."""
        vm = self._vms.get(machine.id.lower())
        if vm is None:
            raise BootFailed(f"VM '{machine.name}' does not exist any more.", "NotFound")
        waits = [asyncio.ensure_future(event.wait()) for event in (vm.host.ready, vm.off)]
        try:
            await asyncio.wait(
                waits, timeout=self._boot_timeout, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for wait in waits:
                wait.cancel()
        if not vm.host.ready.is_set():
            raise BootFailed(
                f"OS Provisioning for VM '{machine.name}' did not finish in the allotted time."
                " The VM may still finish provisioning successfully. Please check provisioning"
                " state later."
            )

    async def stop(self, machine: Machine) -> None:
        """Switch it off without warning."""
        await self._turns.take(machine, self._stop(machine))

    async def start(self, machine: Machine) -> str:
        """Boot it again from its disk."""
        return await self._turns.take(machine, self._start(machine))

    async def delete(self, machine: Machine) -> None:
        """Remove it with its disk and address."""
        await self._turns.take(machine, self._delete(machine))

    async def notice(self, machine: Machine, event: dict[str, Any]) -> None:
        """Show it a scheduled event."""
        if vm := self._vms.get(machine.id.lower()):
            vm.host.notice(event)

    async def serial_log(self, machine: Machine) -> str:
        """What all its boots printed; "" when it never existed."""
        vm = self._vms.get(machine.id.lower())
        return vm.guest.boot_log() if vm else ""

    async def close(self) -> None:
        """Remove all machines and stop the metadata service."""
        await self._turns.over()
        machines = [vm.host.machine for vm in self._vms.values()]
        await asyncio.gather(*(self.delete(machine) for machine in machines))
        await self._metadata.close()
        if self._disks:
            self._disks.close()
            self._disks = None

    # -- for tests -----------------------------------------------------------------------------

    def guest(self, name: str) -> Guest:
        """The machine of this name, to look into it or to hurt it; KeyError when there is none."""
        for vm in self._vms.values():
            if vm.host.machine.name == name:
                return vm.guest
        raise KeyError(name)

    def host(self, name: str) -> Host:
        """What the host knows of the machine of this name."""
        for vm in self._vms.values():
            if vm.host.machine.name == name:
                return vm.host
        raise KeyError(name)

    def guests(self) -> dict[str, Guest]:
        """All machines by name, switched off or on."""
        return {vm.host.machine.name: vm.guest for vm in self._vms.values()}

    def disks(self) -> list[str]:
        """The disks that exist, by their own names."""
        return self._disks.names() if self._disks else []

    # -- parts ---------------------------------------------------------------------------------

    async def _open(self) -> Disks:
        async with self._opening:
            if self._disks is None:
                self._disks = await asyncio.to_thread(Disks, self._fabric)
                await self._metadata.start(*(await asyncio.to_thread(self._sockets)))
            return self._disks

    def _sockets(self) -> list[socket.socket]:
        """Sockets of the host's addresses, which exist on the fabric's bridge."""
        bridge, sockets = self._fabric.bridge, []
        addresses = [f"addr replace {address}/32 dev br0" for address in (IMDS, WIRE_SERVER)]
        netns.ip(*addresses, f"route replace {NETWORK}.0.0/16 dev br0", inside=bridge.name)
        for address in (IMDS, WIRE_SERVER):
            sockets.append(bridge.socket())
            sockets[-1].setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sockets[-1].bind((address, 80))
        return sockets

    def _caller(self, request: web.Request) -> Host | None:
        peer = request.transport and request.transport.get_extra_info("peername")
        return self._hosts.get(peer[0]) if peer else None

    async def _create(self, machine: Machine) -> str:
        disks = await self._open()
        await self._delete(machine)
        name = str(machine.os_profile.get("computerName") or machine.name)
        guest = await asyncio.to_thread(Guest, self._fabric, disks, name)
        vm = self._vms[machine.id.lower()] = _Vm(Host(machine), guest)
        self._hosts[guest.address] = vm.host
        await self._boot(vm)
        return guest.address

    async def _stop(self, machine: Machine) -> None:
        vm = self._vms[machine.id.lower()]
        self._unwatch(vm)
        await asyncio.to_thread(vm.guest.poweroff)
        vm.host.ready.clear()

    async def _start(self, machine: Machine) -> str:
        vm = self._vms[machine.id.lower()]
        vm.host.machine = machine
        vm.host.events.clear()
        if not vm.guest.up:
            await self._boot(vm)
        return vm.guest.address

    async def _delete(self, machine: Machine) -> None:
        vm = self._vms.pop(machine.id.lower(), None)
        if vm:
            self._unwatch(vm)
            self._hosts.pop(vm.guest.address, None)
            await asyncio.to_thread(vm.guest.remove)
            vm.off.set()

    async def _boot(self, vm: _Vm) -> None:
        machine, trouble = vm.host.machine, self._trouble(vm.host.machine.name)
        seed = Seed(
            instance_id=machine.vm_id,
            hostname=vm.guest.name,
            username=machine.admin_username,
            public_keys=machine.public_keys,
            custom_data=machine.custom_data,
            trouble=trouble.words(),
        )
        vm.off.clear()
        await asyncio.to_thread(vm.guest.boot_with, seed, cable=not trouble.unplugged)
        vm.watch = ExitWatch(vm.guest.pid, functools.partial(self._switched_off, vm))

    def _trouble(self, name: str) -> Trouble:
        for each in self.troubles:
            if each.times > 0 and fnmatch.fnmatch(name, each.match):
                each.times -= 1
                return each
        return Trouble()

    def _switched_off(self, vm: _Vm) -> None:
        """The guest ended without having been told to."""
        vm.guest.collect()
        vm.host.ready.clear()
        vm.off.set()
        if self.listener:
            self.listener.powered_off(vm.host.machine)

    def _unwatch(self, vm: _Vm) -> None:
        if vm.watch:
            vm.watch.cancel()
