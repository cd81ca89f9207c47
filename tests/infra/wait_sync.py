"""Giving what is about to end a moment to do so."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import TypeVar

C = TypeVar("C", bound=Collection[object])


def settle(look: Callable[[], C], timeout: float = 5.0) -> C:
    """Look until nothing is found any more, at most ``timeout`` seconds; the last findings."""
    end = time.monotonic() + timeout
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.05)
    return found
