"""Time limits and ends of tasks that never lose a cancellation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable
from typing import Any, TypeVar

T = TypeVar("T")

log = logging.getLogger("skyport")


async def in_time(work: Awaitable[T], timeout: float | None) -> T:
    """The result of ``work`` if it ends within ``timeout`` seconds; else it is cancelled.

    Unlike ``asyncio.wait_for`` before Python 3.12, a cancellation of the caller is never taken for
    done because ``work`` ended in the same moment: who is cancelled once, ends.

    Raises
    ------
    asyncio.TimeoutError
        It did not end in time.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=timeout)
        if done:
            return task.result()
        raise asyncio.TimeoutError
    finally:
        if not task.done():
            await ended(task)


async def ended(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel tasks and wait until they are over; None stands for a task that was never begun.

    What one of them raised goes to the log. Unlike ``suppress(CancelledError): await task``, a
    cancellation of the caller is not taken for that of the task.
    """
    begun = {task for task in tasks if task is not None}
    for task in begun:
        task.cancel()
    if begun:
        await asyncio.wait(begun)
    for task in begun:
        error = None if task.cancelled() else task.exception()
        # A cancelled gather() has its cancellation as its exception.
        if not isinstance(error, (asyncio.CancelledError, type(None))):
            log.error("What was to be ended had failed: %r", task, exc_info=error)
