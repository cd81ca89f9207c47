"""Answers of a site that need not be asked for again at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Answers(Generic[T]):
    """The last answer to each question; who asks while one is on its way waits for it."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, T]] = {}
        self._asking: dict[str, asyncio.Lock] = {}

    async def get(self, question: str, seconds: float, ask: Callable[[], Awaitable[T]]) -> T:
        """An answer that is not older than ``seconds``; what ``ask`` raises is not remembered."""
        clock = asyncio.get_running_loop().time
        async with self._asking.setdefault(question, asyncio.Lock()):
            known = self._known.get(question)
            if known is not None and clock() - known[0] < seconds:
                return known[1]
            answer = await ask()
            self._known[question] = clock(), answer
            return answer

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()
