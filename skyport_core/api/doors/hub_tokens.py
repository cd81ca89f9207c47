"""What the hub says of tokens: asked once for all who want to know, never believed for long."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
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
"""Answers of a sort that are kept; those used least lately go first."""

WAITING = 512
"""Questions of a sort under way before further ones are refused."""

AT_ONCE = 8
"""Questions of a sort that the hub gets at the same time."""

_SALT = secrets.token_bytes(32)


class HubAway(Exception):
    """The hub could not be asked; the message says why, for the log."""


@dataclass(frozen=True)
class _Answer:
    model: Model | None
    asked: float


class _Lane:
    """Tokens of one sort, with a room of their own for answers and for questions."""

    def __init__(self) -> None:
        self.answers: OrderedDict[str, _Answer] = OrderedDict()
        self.questions: dict[str, asyncio.Task[_Answer]] = {}
        self.few = asyncio.Semaphore(AT_ONCE)

    def keep(self, key: str, answer: _Answer) -> None:
        self.answers[key] = answer
        self.answers.move_to_end(key)
        while len(self.answers) > KEPT:
            self.answers.popitem(last=False)


class HubTokens:
    """Asks the hub about tokens.

    An answer holds for ``interval`` seconds from when its question was sent, so that a token that
    was revoked is refused that soon. Who asks about a token that is being asked about gets the
    same answer. Tokens that the hub knew when it was last asked wait for no others: anybody can
    make up tokens, as many as they like.

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
        self._known = _Lane()
        self._others = _Lane()

    async def look_up(self, token: str) -> Model | None:
        """The owner of a token; None for one that the hub does not know. Raises HubAway."""
        key = key_of(token)
        lane = self._lane(key)
        known = lane.answers.get(key)
        if known is not None and self.clock() - known.asked < self.interval:
            lane.answers.move_to_end(key)
            return known.model
        question = lane.questions.get(key)
        if question is None:
            if len(lane.questions) >= WAITING:
                raise HubAway(f"{WAITING} tokens wait for the hub's answer")
            question = asyncio.create_task(self._question(lane, key, token))
            lane.questions[key] = question
        # Others may wait for it too: whoever gives up must not take it along.
        return (await asyncio.shield(question)).model

    def known(self, token: str) -> tuple[Model | None, float] | None:
        """The last answer on a token, and when its question was sent; None: never answered."""
        key = key_of(token)
        answer = self._lane(key).answers.get(key)
        return (answer.model, answer.asked) if answer else None

    async def close(self) -> None:
        """Give up on what is under way. Idempotent."""
        questions = [*self._known.questions.values(), *self._others.questions.values()]
        for question in questions:
            question.cancel()
        await asyncio.gather(*questions, return_exceptions=True)

    def _lane(self, key: str) -> _Lane:
        return self._known if key in self._known.answers else self._others

    async def _question(self, lane: _Lane, key: str, token: str) -> _Answer:
        try:
            async with lane.few:
                asked = self.clock()
                model = await in_time(self._ask(token), self._timeout)
        except asyncio.TimeoutError:
            raise HubAway(f"it did not answer within {self._timeout:g} s") from None
        else:
            answer = _Answer(model, asked)
            for old in (self._known, self._others):
                old.answers.pop(key, None)
            (self._others if model is None else self._known).keep(key, answer)
            return answer
        finally:
            del lane.questions[key]


def key_of(token: str) -> str:
    """A name of a token that does not give it away: another one in each process.

    An admin may have chosen a service's token that is easy to guess, so that a mere digest of it
    would tell.
    """
    return hashlib.blake2b(token.encode(), digest_size=32, key=_SALT).hexdigest()
