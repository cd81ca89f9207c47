"""How much one caller may ask for: requests a second, streams at once, the length of a URL."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tornado.httputil import HTTPServerRequest

from ..caller import Caller
from .errors import ApiError
from .operation import Operation

MAX_URL = 8 * 2**10
"""Characters of the longest path with its query."""

MAX_HEADERS = 32 * 2**10
"""Bytes of the first line and all headers of a request; Tornado closes what sends more."""

STREAM_RETRY = 5
"""Seconds after which a caller with too many streams may try again."""

KEPT = 1000
"""Callers that are remembered before those who have been quiet are forgotten."""

EVENT_STREAM = "text/event-stream"

BYTES = "application/octet-stream"
"""Bodies and answers of any length."""

_NO = frozenset({"false", "0", "no", "off"})


@dataclass(frozen=True)
class Rates:
    """What each caller may use; traits of ``SkyPortCore``.

    Attributes
    ----------
    rate
        Requests a second that go on for ever; 0: no limit.
    burst
        Requests at once, after a while of silence.
    streams
        Streams and WebSockets that are open at once; 0: no limit.
    """

    rate: float = 100.0
    burst: int = 200
    streams: int = 50


@dataclass
class _Bucket:
    tokens: float
    filled: float
    streams: int = 0


class Limits:
    """Holds callers to their rates: a token bucket for each name, whatever door it comes in by.

    Trusted callers, who are parts of the installation, are not held to any.

    Parameters
    ----------
    rates : Rates
        What each caller may use.
    clock : callable
        Seconds that only go up.
    """

    def __init__(
        self, rates: Rates | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._rates = rates or Rates()
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def admit(self, caller: Caller) -> None:
        """Count a request. Raises ApiError 429 with ``Retry-After`` for one too many."""
        if caller.trusted or not self._rates.rate:
            return
        bucket = self._bucket(caller.name)
        if bucket.tokens < 1:
            wait = math.ceil((1 - bucket.tokens) / self._rates.rate)
            raise _too_many(
                f"{caller.name} sends more than {self._rates.rate:g} requests a second.", wait
            )
        bucket.tokens -= 1

    def hold(self, caller: Caller, request: asyncio.Task[Any]) -> None:
        """Count a stream until the task that serves it ends. Raises ApiError 429."""
        if caller.trusted or not self._rates.streams:
            return
        bucket = self._bucket(caller.name)
        if bucket.streams >= self._rates.streams:
            raise _too_many(
                f"{caller.name} has {bucket.streams} streams open, which is the most that one "
                "caller may have; close some first.",
                STREAM_RETRY,
            )
        bucket.streams += 1

        def release(_: object) -> None:
            bucket.streams -= 1

        request.add_done_callback(release)

    def _bucket(self, name: str) -> _Bucket:
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= KEPT:
                self._forget(now)
            bucket = self._buckets[name] = _Bucket(self._rates.burst, now)
        self._fill(bucket, now)
        return bucket

    def _fill(self, bucket: _Bucket, now: float) -> None:
        gained = (now - bucket.filled) * self._rates.rate
        bucket.tokens = min(float(self._rates.burst), bucket.tokens + gained)
        bucket.filled = now

    def _forget(self, now: float) -> None:
        """Drop those who would be told the same if they were new."""
        for name, bucket in list(self._buckets.items()):
            self._fill(bucket, now)
            if bucket.tokens >= self._rates.burst and not bucket.streams:
                del self._buckets[name]


def check_url(request: HTTPServerRequest) -> None:
    """Raises ApiError 414 for a URL that is too long."""
    length = len(request.uri or "")
    if length > MAX_URL:
        raise ApiError(
            414, "uri_too_long", f"The URL has {length} characters; at most {MAX_URL} are taken."
        )


def stays_open(operation: Operation | None, follow: str | None) -> bool:
    """Whether a request lasts as long as its client likes: streams, and files either way.

    Parameters
    ----------
    operation : Operation, optional
        What the request's method was described as.
    follow : str, optional
        The query's ``follow``; None: it has none.
    """
    if operation is None:
        return False
    wanted = None if follow is None else follow.lower() not in _NO
    if operation.websocket or BYTES in (*operation.bodies, *operation.answers.values()):
        return True
    if EVENT_STREAM in operation.answers.values():
        return wanted is not False
    return wanted is True


def _too_many(message: str, wait: int) -> ApiError:
    return ApiError(429, "too_many", message, headers={"Retry-After": str(max(1, wait))})
