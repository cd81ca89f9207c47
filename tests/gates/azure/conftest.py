"""The site of the gate's tests: an endpoint without machines, and a started gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.gates.azure.site import Site
from tests.infra.arm.endpoint import ArmEndpoint


@pytest.fixture
async def bare(tmp_path: Path) -> AsyncIterator[Site]:
    """A site whose gate is not made yet."""
    home = tmp_path / "gate"
    home.mkdir(mode=0o700)
    async with ArmEndpoint(regions=("westeurope", "northeurope")) as endpoint:
        site = Site(endpoint, home)
        yield site
        for gate in site.gates:
            await gate.close(idle=True)


@pytest.fixture
async def azure(bare: Site) -> Site:
    """A site with a started gate."""
    await bare.start()
    return bare
