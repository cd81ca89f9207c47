"""Waiting for a condition, with a deadline and a name for what did not come."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def eventually(
    condition: Callable[[], T | Awaitable[T]],
    what: str,
    timeout: float = 10.0,
    interval: float = 0.05,
) -> T:
    """Look at ``condition`` (plain or async) until it is true, and return its value.

    Raises AssertionError naming ``what`` and the last value seen after ``timeout`` seconds.
    """
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value  # type: ignore[return-value]
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {timeout:g} s (last seen: {value!r})")
        await asyncio.sleep(interval)
