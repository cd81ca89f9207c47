"""Looking again and again: when, how often, and to what end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from skyport_gates.azure.refresh import Refresher
from skyport_gates.gate import GateUnavailable, Throttled
from tests.infra.wait import eventually

Make = Callable[..., Refresher]


class Eye:
    """Looks, and sees what the test wants."""

    def __init__(self) -> None:
        self.looks = 0
        self.trouble: Exception | None = None

    async def look(self) -> None:
        """One look."""
        self.looks += 1
        if self.trouble is not None:
            raise self.trouble


@pytest.fixture
def eye() -> Eye:
    """What looks."""
    return Eye()


@pytest.fixture
async def make(eye: Eye) -> AsyncIterator[Make]:
    """A factory of started refreshers."""
    made: list[Refresher] = []

    def start(age: float = float("inf"), **options: Any) -> Refresher:
        options = {"interval": 60.0, "pause": 0.01, "least": 0.0, **options}
        made.append(Refresher("the test", eye.look, logging.getLogger("test"), **options))
        made[-1].start(age)
        return made[-1]

    yield start
    for refresher in made:
        await refresher.close()


async def test_what_is_not_known_is_looked_at_once(make: Make, eye: Eye) -> None:
    refresher = make()
    await asyncio.wait_for(refresher.looked(), 5)
    assert (eye.looks, refresher.error) == (1, None)


async def test_what_is_known_is_looked_at_when_it_is_due(make: Make, eye: Eye) -> None:
    make(age=10.0)
    due = make(age=59.99)
    await asyncio.wait_for(due.looked(), 5)
    assert eye.looks == 1


async def test_it_looks_again_after_the_interval(make: Make, eye: Eye) -> None:
    make(interval=0.01)
    await eventually(lambda: eye.looks >= 3, "three looks")


async def test_a_wake_brings_the_next_look_forward(make: Make, eye: Eye) -> None:
    refresher = make()
    await asyncio.wait_for(refresher.looked(), 5)
    refresher.wake()
    await eventually(lambda: eye.looks == 2, "a second look")


async def test_many_wakes_are_one_look(make: Make, eye: Eye) -> None:
    refresher = make(least=0.2)
    await asyncio.wait_for(refresher.looked(), 5)
    for _ in range(5):
        refresher.wake()
        await asyncio.sleep(0.01)
    assert eye.looks == 1
    await eventually(lambda: eye.looks == 2, "a second look")


async def test_a_failed_look_is_repeated_soon(make: Make, eye: Eye) -> None:
    eye.trouble = GateUnavailable("not now")
    refresher = make()
    await eventually(lambda: eye.looks >= 3, "three looks")
    assert refresher.error is eye.trouble
    eye.trouble = None
    await eventually(lambda: refresher.error is None, "a good look")


async def test_who_is_told_to_wait_waits(make: Make, eye: Eye) -> None:
    refresher = make()
    await asyncio.wait_for(refresher.looked(), 5)
    eye.trouble = Throttled("slow down", retry_after=600)
    assert await refresher._step() >= 500


async def test_pauses_double_up_to_the_interval(make: Make, eye: Eye) -> None:
    refresher = make(interval=0.5, pause=0.1)
    await asyncio.wait_for(refresher.looked(), 5)
    await refresher.close()
    eye.trouble = GateUnavailable("not now")
    pauses = [await refresher._step() for _ in range(5)]
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.5, 0.5], rel=0.11)


async def test_an_unexpected_error_is_logged_and_does_not_end_it(
    make: Make, eye: Eye, caplog: pytest.LogCaptureFixture
) -> None:
    eye.trouble = KeyError("x")
    make()
    await eventually(lambda: eye.looks >= 2, "two looks")
    assert "Cannot refresh the test" in caplog.text and "KeyError" in caplog.text


async def test_an_outage_is_logged_once(
    make: Make, eye: Eye, caplog: pytest.LogCaptureFixture
) -> None:
    eye.trouble = GateUnavailable("not now")
    make()
    await eventually(lambda: eye.looks >= 4, "four looks")
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == 1


async def test_closing_works_though_a_cancellation_was_lost() -> None:
    lost = asyncio.Event()

    async def look() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            # As wait_for() of older Pythons does it now and then.
            lost.set()

    refresher = Refresher("the test", look, logging.getLogger("test"), interval=60)
    refresher.start()
    await asyncio.sleep(0)
    await asyncio.sleep(0.01)
    await asyncio.wait_for(refresher.close(), 5)
    assert lost.is_set()
