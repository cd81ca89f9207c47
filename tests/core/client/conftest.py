from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyport_core.client import CoreClient
from tests.core.api.served import ServedCore, served


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ServedCore]:
    async with served(tmp_path) as core:
        yield core


@pytest.fixture
async def client(core: ServedCore) -> AsyncIterator[CoreClient]:
    async with CoreClient(core.socket) as client:
        yield client
