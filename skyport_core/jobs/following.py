"""Reading along with what a job writes: one reader on its node, however many follow."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from typing import Protocol

from skyport_gates.timing import ended

from ..model import Job
from ..store import Store, Subscription
from .evicting import ON_NODE

CHUNK = 256 * 2**10
"""Bytes read at once."""

WINDOW = 2**20
"""Bytes that were read last and are kept for those who follow."""

FIRST_LOOK, LAST_LOOK = 0.1, 1.0
"""Seconds between two looks at a log: few after one that found something, then more and more."""

IDLE_LOOK = 10.0
"""Seconds between two looks at a job that has no place, if nothing is heard of it."""


class Logs(Protocol):
    """Where the bytes come from."""

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        """Part of what a job wrote, wherever that is now."""


class Feeds:
    """The logs that somebody follows, as ``api.services.FollowService`` describes it."""

    def __init__(self, store: Store, logs: Logs, log: logging.Logger) -> None:
        self._store = store
        self._logs = logs
        self._log = log
        self._feeds: dict[tuple[str, str], Feed] = {}

    async def follow(self, job: Job, stream: str, offset: int) -> AsyncGenerator[bytes, None]:
        """What the job writes to ``stream`` from byte ``offset`` on, until it has ended.

        A job that goes back to the queue writes anew: its next attempt follows from its first byte.
        The caller closes the iterator, and takes only as much as it can pass on: who is slow
        reads for itself what the others have read already.
        """
        key = (job.id, stream)
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._feeds[key] = Feed(self._store, self._logs, job, stream, offset, self._log)
        feed.followers += 1
        try:
            async for data in feed.read(offset):
                yield data
        finally:
            feed.followers -= 1
            if not feed.followers:
                if self._feeds.get(key) is feed:
                    del self._feeds[key]
                await feed.close()

    @property
    def count(self) -> int:
        """Logs that are being read now."""
        return len(self._feeds)


class Feed:
    """One log, read by one task for all who follow it.

    What was read last stands in a window. Who is behind that reads on its own until it has caught
    up, and who is ahead of it waits.
    """

    def __init__(
        self, store: Store, logs: Logs, job: Job, stream: str, offset: int, log: logging.Logger
    ) -> None:
        self.followers = 0
        self._store = store
        self._logs = logs
        self._job = job
        self._stream = stream
        self._log = log
        self._start = offset
        self._window = bytearray()
        self._over = False
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name=f"log of {job.id}")

    async def close(self) -> None:
        """Stop reading."""
        await ended(self._task)

    async def read(self, offset: int) -> AsyncGenerator[bytes, None]:
        """What one follower gets."""
        attempt = self._job.attempt
        while True:
            changed, over, job = self._changed, self._over, self._job
            if job.attempt != attempt:
                attempt, offset = job.attempt, 0
            if offset < self._start:
                data = await self._logs.log(job, self._stream, offset, CHUNK)
                if self._job.attempt != attempt:
                    continue
                # A log that is shorter than it was is what a lost node left of it.
                data = data[: self._start - offset]
                if not data:
                    offset = self._start
                    continue
            else:
                begin = offset - self._start
                data = bytes(self._window[begin : begin + CHUNK])
            if data:
                offset += len(data)
                yield data
            elif over:
                return
            else:
                await changed.wait()

    async def _run(self) -> None:
        try:
            with self._store.changes.subscribe(self._job.id) as news:
                await self._pump(news)
        except Exception:
            self._log.exception("The log of job %s cannot be followed", self._job.id)
        finally:
            self._over = True
            self._wake()

    async def _pump(self, news: Subscription) -> None:
        pause = FIRST_LOOK
        while True:
            # The job is read before its log: what a final job has written, is all there.
            job = await self._store.get_job(self._job.id)
            if job is None:
                return
            if job.attempt != self._job.attempt:
                self._start, self._window = 0, bytearray()
            self._job = job
            data = await self._look(job)
            if data:
                self._append(data)
                pause = FIRST_LOOK
            elif job.state.final:
                return
            if len(data) == CHUNK or (data and job.state.final):
                continue
            await news.wait(pause if job.state in ON_NODE or job.node else IDLE_LOOK)
            pause = min(LAST_LOOK, pause * 1.5)

    async def _look(self, job: Job) -> bytes:
        """The next bytes, if there are any of this attempt of the job."""
        # What is at the core of a job that waits, is what an earlier attempt wrote.
        if job.node is None and job.attempt and self._stream != "boot":
            return b""
        end = self._start + len(self._window)
        return await self._logs.log(job, self._stream, end, CHUNK)

    def _append(self, data: bytes) -> None:
        self._window += data
        surplus = len(self._window) - WINDOW
        if surplus > 0:
            del self._window[:surplus]
            self._start += surplus
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
