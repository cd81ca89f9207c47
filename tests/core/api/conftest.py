from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .served import Http, ServedCore, served


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ServedCore]:
    async with served(tmp_path) as core:
        yield core


@pytest.fixture
async def http(core: ServedCore) -> AsyncIterator[Http]:
    async with Http(core.socket) as http:
        yield http
