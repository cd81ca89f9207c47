"""A queue of keys to reconcile."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


class _End:
    """Lies in a closed queue; whoever finds it leaves it for the next."""


class QueueClosed(Exception):
    """The queue was closed: no more keys will come."""


class WorkQueue(Generic[Key]):
    """Says which keys need work, so that any number of workers can share it.

    A key stands for something to look at, not for a message: however often it is added before a
    worker takes it, the worker gets it once, and must look at the present state of the thing.

    Guarantees:

    - *Deduplicated.* A key that is queued already is not queued twice.
    - *In order.* Keys come out in the order in which they became due.
    - *One worker a key.* A key that a worker holds (between :meth:`get` and :meth:`done`) is given
      to nobody else.
    - *Nothing missed.* A key added while a worker holds it comes out once more after
      :meth:`done`.
    - *One delay a key.* Of several delays the one that ends first counts; an :meth:`add` in
      between does not cancel it.
    - *Backoff.* Each :meth:`retry` of a key waits longer, up to ``max_delay``, until
      :meth:`forget`.
    - *Close ends all.* After :meth:`close` every :meth:`get`, also one that waits already, raises
      QueueClosed; delays end without effect.

    For use within one event loop. A worker is::

        while True:
            key = await queue.get()
            try:
                await reconcile(key)
            except Exception:
                log.exception("Reconciling %s failed", key)
                queue.retry(key)
            else:
                queue.forget(key)
            finally:
                queue.done(key)

    Parameters
    ----------
    base_delay : float
        Seconds before the first retry of a key, before jitter.
    max_delay : float
        Seconds that no retry exceeds.
    jitter : callable
        Gives a number from 0 up to 1; a delay is shortened by up to half by it, so that keys
        that failed together are not all retried together.
    """

    def __init__(
        self,
        *,
        base_delay: float = 0.2,
        max_delay: float = 60.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._base_delay = base_delay
        self._max_delay = max_delay
        self._jitter = jitter
        self._due: asyncio.Queue[Key | _End] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._held: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}
        self._closed = False

    def __len__(self) -> int:
        """How many keys are due and not yet taken."""
        return len(self._queued)

    def add(self, key: Key) -> None:
        """Make a key due now. Without effect once the queue is closed."""
        if self._closed or key in self._queued:
            return
        if key in self._held:
            self._again.add(key)
            return
        self._queued.add(key)
        self._due.put_nowait(key)

    def add_after(self, key: Key, delay: float) -> None:
        """Make a key due in ``delay`` seconds, unless it already is to be due before."""
        if self._closed:
            return
        if delay <= 0:
            self.add(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + delay:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(delay, self._delay_over, key)

    def _delay_over(self, key: Key) -> None:
        del self._timers[key]
        self.add(key)

    async def get(self) -> Key:
        """Wait for a key that is due and hold it; give it back with :meth:`done`.

        Raises
        ------
        QueueClosed
            The queue was closed, before or meanwhile.
        """
        key = await self._due.get()
        if self._closed or isinstance(key, _End):
            self._due.put_nowait(_End())
            raise QueueClosed
        self._queued.discard(key)
        self._held.add(key)
        return key

    def done(self, key: Key) -> None:
        """Give a key back, whether the work on it went well or not.

        Raises
        ------
        ValueError
            Nobody holds the key.
        """
        if key not in self._held:
            raise ValueError(f"{key!r} is not held by a worker.")
        self._held.remove(key)
        if key in self._again:
            self._again.remove(key)
            self.add(key)

    def retry(self, key: Key) -> float:
        """Count a failure and make the key due after its backoff.

        Returns
        -------
        float
            The delay in seconds.
        """
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        # The exponent is bounded, since a float is: 2**64 times any base is beyond any maximum.
        longest = min(self._max_delay, self._base_delay * 2.0 ** min(failures, 64))
        delay = longest * (1 - self._jitter() / 2)
        self.add_after(key, delay)
        return delay

    def failures(self, key: Key) -> int:
        """How often the key was retried since it was last forgotten."""
        return self._failures.get(key, 0)

    def forget(self, key: Key) -> None:
        """Forget the key's failures: the next retry starts with the shortest delay."""
        self._failures.pop(key, None)

    def close(self) -> None:
        """End all waiting and take no more keys. Idempotent."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._queued.clear()
        self._again.clear()
        self._due.put_nowait(_End())


async def serve(
    queue: WorkQueue[Key],
    work: Callable[[Key], Awaitable[None]],
    *,
    what: str,
    stale: type[Exception],
    log: logging.Logger,
) -> None:
    """Do the work of each key that is due, all keys side by side, until cancelled.

    Parameters
    ----------
    work
        Looks at a key and does what is due; forgets or retries the key itself.
    what
        What a key names, for the log ("job").
    stale
        An error that only means that the thing changed meanwhile: it is looked at again at once.
        Any other is logged, and the key is retried.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def one(key: Key) -> None:
        try:
            await work(key)
        except stale:
            queue.add(key)
        except Exception:
            log.exception("%s %s: unexpected error; trying again", what.capitalize(), key)
            queue.retry(key)
        finally:
            queue.done(key)

    try:
        while True:
            key = await queue.get()
            task = asyncio.create_task(one(key), name=f"{what} {key}")
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
