"""A backend without machines: boots at once, for tests of what Azure says."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.infra.arm.backends import BootFailed, Listener, Machine


class NullBackend:
    """Machines that exist on paper.

    Attributes
    ----------
    running
        Machines that are switched on, by id in lower case.
    events
        Scheduled events that machines were shown.
    broken
        Names of machines whose boot fails, with what Azure then says.
    acknowledges
        Whether machines acknowledge scheduled events at once.
    held
        When set, machines do not finish booting until :meth:`release`.
    """

    listener: Listener | None = None

    def __init__(self) -> None:
        self.running: dict[str, Machine] = {}
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.broken: dict[str, BootFailed] = {}
        self.acknowledges = False
        self.held = False
        self._released = asyncio.Event()
        self._count = 3

    def fail_boot(self, name: str, message: str = "", code: str = "OSProvisioningTimedOut") -> None:
        """Let the next boot of a machine fail ("*": of any machine)."""
        text = message or (
            f"OS Provisioning for VM '{name}' did not finish in the allotted time. The VM may "
            "still finish provisioning successfully. Please check provisioning state later. For "
            "details on how to check current provisioning state of Windows VMs, refer to "
            "https://aka.ms/WindowsVMLifecycle and Linux VMs, refer to "
            "https://aka.ms/LinuxVMLifecycle."
        )
        self.broken[name] = BootFailed(text, code)

    def hold(self) -> None:
        """Let machines boot until :meth:`release`."""
        self.held = True
        self._released.clear()

    def release(self) -> None:
        """Let held machines finish booting."""
        self.held = False
        self._released.set()

    async def create(self, machine: Machine) -> str:
        self.running[machine.id.lower()] = machine
        self._count += 1
        high, low = divmod(self._count, 250)
        return f"10.200.{high}.{low + 4}"

    async def booted(self, machine: Machine) -> None:
        if self.held:
            await self._released.wait()
        failure = self.broken.pop(machine.name, None) or self.broken.pop("*", None)
        if failure is not None:
            raise failure

    async def stop(self, machine: Machine) -> None:
        self.running.pop(machine.id.lower(), None)

    async def start(self, machine: Machine) -> str:
        self.running[machine.id.lower()] = machine
        return machine.address

    async def delete(self, machine: Machine) -> None:
        self.running.pop(machine.id.lower(), None)

    async def notice(self, machine: Machine, event: dict[str, Any]) -> None:
        self.events.append((machine.name, event))
        if self.acknowledges and self.listener is not None:
            self.listener.acknowledged(machine, event["EventId"])

    async def serial_log(self, machine: Machine) -> str:
        return f"[    0.000000] Linux version 6.1.0 ({machine.name})\n{machine.name} login: \n"

    async def close(self) -> None:
        self.running.clear()
