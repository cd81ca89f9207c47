"""An endpoint for each test, and the real SDK for it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.infra.arm.clients import Clients, clients
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.raw import RawClient
from tests.infra.data import AZURE_DATA, DATA


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[ArmEndpoint]:
    async with ArmEndpoint() as running:
        yield running


@pytest_asyncio.fixture
async def sdk(endpoint: ArmEndpoint) -> AsyncIterator[Clients]:
    async with clients(endpoint) as made:
        yield made


@pytest_asyncio.fixture
async def raw(endpoint: ArmEndpoint) -> AsyncIterator[RawClient]:
    async with RawClient(endpoint) as client:
        yield client


@pytest.fixture
def azure_data() -> Path:
    """The folder of recorded data; skips where there is none."""
    if not AZURE_DATA.is_dir():
        pytest.skip(f"no recorded data of Azure in {DATA} (SKYPORT_TEST_DATA)")
    return DATA
