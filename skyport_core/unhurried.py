"""Long loops that let the event loop go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

AT_ONCE = 100
"""Items between two breaks."""


async def unhurried(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items, with a break now and then in which other tasks get their turn."""
    for number, item in enumerate(items):
        if number % AT_ONCE == AT_ONCE - 1:
            await asyncio.sleep(0)
        yield item
