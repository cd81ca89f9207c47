"""What the hub says of tokens: asked once for all who want to know, never believed for long."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from skyport_gates.timing import in_time

Model = Mapping[str, Any]
"""The hub's description of a token's owner: name, kind, scopes …"""

Ask = Callable[[str], Awaitable[Model | None]]
"""Has the hub describe a token; None: it knows none such. Raises HubAway."""

KEPT = 4096
"""Answers that are kept; those used least lately go first."""

WAITING = 512
"""Questions under way before further ones are refused."""

AT_ONCE = 8
"""Questions that the hub gets at the same time."""


class HubAway(Exception):
    """The hub could not be asked; the message says why, for the log."""


@dataclass(frozen=True)
class _Answer:
    model: Model | None
    asked: float


class HubTokens:
    """Asks the hub about tokens.

    An answer holds for ``interval`` seconds from when its question was sent, so that a token that
    was revoked is refused that soon. Who asks about a token that is being asked about gets the
    same answer.

    Parameters
    ----------
    ask : Ask
        The question, without a time limit of its own.
    interval : float
        Seconds that an answer holds.
    timeout : float
        Seconds that the hub has to answer.
    clock : callable
        Seconds that only go up.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        interval: float,
        timeout: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.interval = interval
        self.clock = clock
        self._ask = ask
        self._timeout = timeout
        self._answers: OrderedDict[str, _Answer] = OrderedDict()
        self._questions: dict[str, asyncio.Task[_Answer]] = {}
        self._few = asyncio.Semaphore(AT_ONCE)

    async def look_up(self, token: str) -> Model | None:
        """The owner of a token; None for one that the hub does not know. Raises HubAway."""
        key = key_of(token)
        known = self._answers.get(key)
        if known is not None and self.clock() - known.asked < self.interval:
            self._answers.move_to_end(key)
            return known.model
        question = self._questions.get(key)
        if question is None:
            if len(self._questions) >= WAITING:
                raise HubAway(f"{WAITING} tokens wait for the hub's answer")
            question = asyncio.create_task(self._question(key, token))
            self._questions[key] = question
        # Others may wait for it too: whoever gives up must not take it along.
        return (await asyncio.shield(question)).model

    def known(self, token: str) -> tuple[Model | None, float] | None:
        """The last answer on a token, and when its question was sent; None: never answered."""
        answer = self._answers.get(key_of(token))
        return (answer.model, answer.asked) if answer else None

    async def close(self) -> None:
        """Give up on what is under way. Idempotent."""
        questions = list(self._questions.values())
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)

    async def _question(self, key: str, token: str) -> _Answer:
        try:
            async with self._few:
                asked = self.clock()
                model = await in_time(self._ask(token), self._timeout)
        except asyncio.TimeoutError:
            raise HubAway(f"it did not answer within {self._timeout:g} s") from None
        else:
            answer = self._answers[key] = _Answer(model, asked)
            self._answers.move_to_end(key)
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)
            return answer
        finally:
            del self._questions[key]


def key_of(token: str) -> str:
    """A name of a token that does not give it away."""
    return hashlib.sha256(token.encode()).hexdigest()
