"""Gates of this machine for the tests, stopped at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from skyport_gates.gate import GateContext
from skyport_gates.local import LocalGate
from tests.infra.logins import Authority


@pytest.fixture
def authority() -> Authority:
    """The authority whose logins the gate's nodes accept."""
    return Authority()


@pytest.fixture
def context(tmp_path: Path, authority: Authority) -> GateContext:
    """What the core would tell the gate."""
    home = tmp_path / "gate"
    home.mkdir(mode=0o700)
    return GateContext("core-1", home, authority.public_key)


@pytest.fixture
async def make_local(context: GateContext) -> AsyncIterator[Callable[..., LocalGate]]:
    """A factory of local gates on one folder, not started."""
    made: list[LocalGate] = []

    def make(**traits: Any) -> LocalGate:
        made.append(LocalGate(name="local", context=context, **traits))
        return made[-1]

    yield make
    for gate in made:
        await gate.close(idle=True)


@pytest.fixture
async def local(make_local: Callable[..., LocalGate]) -> LocalGate:
    """A started local gate."""
    gate = make_local()
    await gate.start()
    return gate
