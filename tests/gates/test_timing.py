"""Time limits and ends of tasks that never lose a cancellation."""

from __future__ import annotations

import asyncio
import logging

import pytest

from skyport_gates.timing import ended, in_time


async def nothing() -> int:
    await asyncio.sleep(0)
    return 7


async def test_what_ends_in_time_has_its_result() -> None:
    assert await in_time(nothing(), 10) == 7


async def test_an_error_is_passed_on() -> None:
    async def fail() -> None:
        raise ValueError("x")

    with pytest.raises(ValueError, match="x"):
        await in_time(fail(), 10)


async def test_what_takes_too_long_is_cancelled() -> None:
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(asyncio.TimeoutError):
        await in_time(hang(), 0.01)
    assert ended.is_set()


@pytest.mark.parametrize("steps", range(1, 6))
async def test_a_cancellation_counts_also_when_the_work_just_ended(steps: int) -> None:
    task = asyncio.create_task(in_time(nothing(), 10))
    for _ in range(steps):
        await asyncio.sleep(0)
    cancelled_in_time = task.cancel()
    await asyncio.wait({task})
    assert task.cancelled() == cancelled_in_time


async def test_the_work_of_a_cancelled_caller_is_cancelled() -> None:
    work = asyncio.ensure_future(asyncio.Event().wait())
    task = asyncio.create_task(in_time(work, 10))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert work.cancelled()


async def test_ended_tasks_are_over_and_their_errors_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail() -> None:
        raise ValueError("lost otherwise")

    hung, failed = asyncio.ensure_future(asyncio.Event().wait()), asyncio.ensure_future(fail())
    await asyncio.sleep(0)
    with caplog.at_level(logging.ERROR, "skyport"):
        await ended(hung, None, failed)
    assert hung.cancelled() and failed.done()
    assert "lost otherwise" in caplog.text


async def test_who_is_cancelled_while_a_task_ends_is_cancelled() -> None:
    go = asyncio.Event()

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await go.wait()

    work = asyncio.ensure_future(slow())
    await asyncio.sleep(0)
    caller = asyncio.ensure_future(ended(work))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait({caller})
    assert caller.cancelled()
    go.set()
    await asyncio.wait({work})
