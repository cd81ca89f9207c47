"""Azure with machines that obey their custom data, and a core over it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from tests.infra.arm.backends.node import NodeBackend
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.core import CoreProcess
from tests.infra.lab import QUICK
from tests.infra.nodes import Fabric
from tests.infra.wait import eventually

SIZE = "Standard_D2s_v5"


@dataclass
class Azure:
    """The endpoint, its machines, and a core with one site "azure" over it."""

    endpoint: ArmEndpoint
    backend: NodeBackend
    core: CoreProcess

    def left(self) -> list[str]:
        """What still costs money, and machines that still exist."""
        return self.endpoint.arm.leftovers() + list(self.backend.guests())

    async def clean(self) -> None:
        """Wait until nothing is left."""
        await eventually(lambda: not self.left(), "Azure without leftovers", 30)


@contextlib.asynccontextmanager
async def azure(fabric: Fabric, **options: object) -> AsyncIterator[Azure]:
    """Azure and a core over it; ``options`` are traits of SkyPortCore."""
    backend = NodeBackend(fabric)
    async with ArmEndpoint(backend=backend, fabric=fabric) as endpoint:
        traits = endpoint.gate_options(bootstrap="none", sizes=[SIZE, "Standard_D4s_v5"])
        gates = {"azure": {"class": "azure", **traits}}
        lines = [f"c.SkyPortCore.gates = {gates!r}"]
        lines += [f"c.SkyPortCore.{name} = {value!r}" for name, value in (QUICK | options).items()]
        core = CoreProcess("\n".join(["c = get_config()", *lines, ""]), fabric=fabric)
        async with core:
            yield Azure(endpoint, backend, core)
