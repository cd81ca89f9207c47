"""Building large structures that live long, without holding up the event loop."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import TypeVar

T = TypeVar("T")

FEW = 100
"""Items that are worked through at once, in the loop."""

_building = Lock()


async def build(items: int, work: Callable[[], T]) -> T:
    """The result of ``work`` over so many ``items``, done in a thread if they are many.

    ``work`` touches nothing that others change meanwhile.
    """
    if items <= FEW:
        return work()
    return await asyncio.to_thread(_work, work)


def _work(work: Callable[[], T]) -> T:
    with _building, _passed_by():
        return work()


@contextmanager
def _passed_by() -> Iterator[None]:
    """Keep the garbage collector away from what is built inside, for as long as that lives.

    A full round over a cloud's offers stops all threads for a tenth of a second, and building them
    would cause several; but they hold no cycles. What was set aside before comes up for collection
    again.
    """
    enabled = gc.isenabled()
    gc.disable()
    gc.unfreeze()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
