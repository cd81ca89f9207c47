"""A core over the test endpoint of Azure, whose machines are logins on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.infra.arm.backends.login import LoginBackend
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.state import Arm
from tests.infra.desk import Desk, opened
from tests.infra.wait import eventually

CONFIG = """
c.SkyPortCore.gates = {{"azure": {{"class": "azure", **{options!r}}}}}
c.SkyPortCore.reap_interval = 1
c.SkyPortCore.stop_grace = 0.2
c.SkyPortCore.connect_timeout = 2
c.SkyPortCore.node_lost_timeout = 5
c.SkyPortCore.partition_timeout = 60
{more}
"""


@dataclass
class AzureDesk:
    """A desk and the endpoint that its core uses."""

    desk: Desk
    endpoint: ArmEndpoint
    backend: LoginBackend

    @property
    def arm(self) -> Arm:
        """The endpoint's state."""
        return self.endpoint.arm

    def vms(self) -> list[str]:
        """Names of the VMs that exist."""
        return sorted(self.arm.machines())

    async def stop(self, job_id: str) -> None:
        """Cancel a job, wait for its end, and see that nothing of it is left at Azure."""
        await self.desk.client.delete_job(job_id, wait=20)
        await self.desk.end(job_id, timeout=40)
        await self.nothing_left()

    async def nothing_left(self, timeout: float = 20) -> None:
        """See that no VM, NIC, disk or public address exists."""
        await eventually(lambda: not self.arm.leftovers(), "nothing left at Azure", timeout)

    async def outage(self, seconds: float) -> None:
        """Take Azure away for a while."""
        await self.endpoint.down()
        await asyncio.sleep(seconds)
        await self.endpoint.up()


@asynccontextmanager
async def azure_desk(
    more: str = "", *, boot_time: float = 0.2, gate: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[AzureDesk]:
    """Endpoint and core, both ended with the context; the endpoint must be empty then.

    Parameters
    ----------
    more
        Further lines of the core's configuration.
    boot_time
        Seconds until a machine reports that it is ready.
    gate
        Options of the gate that differ from those of the endpoint.
    options
        Of the endpoint.
    """
    backend = LoginBackend(boot_time)
    async with ArmEndpoint(backend=backend, **options) as endpoint:
        config = CONFIG.format(options=endpoint.gate_options(**(gate or {})), more=more)
        async with opened(config) as desk:
            azure = AzureDesk(desk, endpoint, backend)
            yield azure
        await azure.nothing_left()
