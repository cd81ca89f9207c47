"""A time limit that never loses a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


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
            task.cancel()
            await asyncio.wait({task})
