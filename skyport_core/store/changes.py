"""Tells waiting tasks of this process that a job changed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from skyport_gates.timing import in_time


class Subscription:
    """Remembers whether its job changed since the last :meth:`wait`."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def notify(self) -> None:
        """Wake whoever waits, now or later."""
        self._changed.set()

    async def wait(self, timeout: float | None = None) -> bool:
        """Wait for a change; one that came since the last wait counts at once.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait at most; None: for ever.

        Returns
        -------
        bool
            False when the time ran out. Several changes may count as one.
        """
        try:
            await in_time(self._changed.wait(), timeout)
        except asyncio.TimeoutError:
            return False
        self._changed.clear()
        return True


class Changes:
    """Who waits for which job.

    Subscribe first, then read: a change between the two is then never missed.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[str, set[Subscription]] = {}

    @contextmanager
    def subscribe(self, job_id: str) -> Iterator[Subscription]:
        """A subscription to the job's changes while the block lasts."""
        subscription = Subscription()
        self._subscriptions.setdefault(job_id, set()).add(subscription)
        try:
            yield subscription
        finally:
            waiting = self._subscriptions[job_id]
            waiting.discard(subscription)
            if not waiting:
                del self._subscriptions[job_id]

    def notify(self, job_id: str) -> None:
        """Wake all that subscribed to the job."""
        for subscription in self._subscriptions.get(job_id, ()):
            subscription.notify()
