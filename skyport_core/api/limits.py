"""How much one caller may ask for: requests and streams, their bytes, the length of a URL."""

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

FLIGHT_RETRY = 1
"""Seconds after which a caller with too many requests under way may try again."""

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
    requests
        Other requests at once, each until its answer has gone; 0: no limit.
    in_flight
        Bytes of their bodies and answers together; 0: no limit.
    """

    rate: float = 100.0
    burst: int = 200
    streams: int = 50
    requests: int = 32
    in_flight: int = 64 * 2**20


@dataclass
class _Bucket:
    tokens: float
    filled: float
    streams: int = 0
    requests: int = 0
    in_flight: int = 0


class Flight:
    """What one request takes of its caller's share, until its answer has gone."""

    def __init__(self, name: str, bucket: _Bucket, most: int) -> None:
        self._name = name
        self._bucket = bucket
        self._most = most
        self._size = 0
        bucket.requests += 1

    def carry(self, size: int) -> None:
        """Take in so many bytes more. Raises ApiError 429 if there are too many beside others."""
        others = self._bucket.in_flight - self._size
        if others and 0 < self._most < others + self._size + size:
            raise too_much(self._name, self._most)
        self.note(size)

    def note(self, size: int) -> None:
        """Count bytes that are there, however many; then the next requests are refused."""
        self._size += size
        self._bucket.in_flight += size

    def drop(self) -> None:
        """The bytes are no longer held."""
        self.note(-self._size)

    def end(self, _: object = None) -> None:
        """The answer has gone."""
        self.drop()
        self._bucket.requests -= 1


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

    def begin(self, caller: Caller, gone: asyncio.Future[None]) -> Flight | None:
        """Count a request as one under way until its answer has ``gone``; None: not counted.

        Raises ApiError 429 for one too many.
        """
        if caller.trusted:
            return None
        bucket, most = self._bucket(caller.name), self._rates.requests
        if 0 < most <= bucket.requests:
            raise _too_many(
                f"{caller.name} has {bucket.requests} requests under way, which is the most that "
                "one caller may have at once; wait for their answers.",
                FLIGHT_RETRY,
            )
        if 0 < self._rates.in_flight <= bucket.in_flight:
            raise too_much(caller.name, self._rates.in_flight)
        flight = Flight(caller.name, bucket, self._rates.in_flight)
        gone.add_done_callback(flight.end)
        return flight

    def under_way(self, name: str) -> int:
        """Requests of a caller whose answers have not gone, streams not among them."""
        bucket = self._buckets.get(name)
        return 0 if bucket is None else bucket.requests

    def hold(self, caller: Caller, request: asyncio.Future[Any]) -> None:
        """Count a stream until it is done. Raises ApiError 429."""
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
            busy = bucket.streams or bucket.requests
            if bucket.tokens >= self._rates.burst and not busy:
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


def too_much(name: str, most: int) -> ApiError:
    """What a caller is told whose requests under way are too large together."""
    return _too_many(
        f"The requests that {name} has under way are larger than {most / 2**20:g} MiB together, "
        "with their answers; wait for these.",
        FLIGHT_RETRY,
    )


def _too_many(message: str, wait: int) -> ApiError:
    return ApiError(429, "too_many", message, headers={"Retry-After": str(max(1, wait))})
