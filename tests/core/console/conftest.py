from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skyport_core.console import main
from tests.core.api.served import ServedCore, served

Skyport = Callable[..., Awaitable[Result]]


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person without contexts of their own."""
    folder = tmp_path / "config"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    for name in ("SKYPORT_CONTEXT", "SKYPORT_SOCKET", "SKYPORT_HOME", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    return folder / "skyport"


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[ServedCore]:
    async with served(tmp_path) as core:
        yield core


@pytest.fixture
def skyport(core: ServedCore) -> Skyport:
    """Runs the command in a thread, while this loop serves the core."""

    async def run(*arguments: str, **options: object) -> Result:
        words = ["--socket", str(core.socket), *arguments]
        return await asyncio.to_thread(CliRunner().invoke, main, words, **options)

    return run
