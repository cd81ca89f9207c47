"""Hearing at once what happens on a node: one channel a connection, no polling on either side."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import asyncssh

from skyport_gates.timing import ended

from .errors import NodeError
from .program import COMMAND, PROGRAM

if TYPE_CHECKING:
    from .connection import NodeConnection

RETRY_FIRST = 0.2
RETRY_MAX = 30.0
READY = "skyport-watch ready"
NOTICE = re.compile(r"notice preempt ([0-9]{1,12})")
LAST_WORDS = 4096
"""Characters that are read of what a helper says when it can not begin."""


@dataclass(frozen=True)
class Notice:
    """The site takes the node back at ``end`` (seconds since the epoch)."""

    end: float


class Watcher:
    """Tells subscribers when to look at their jobs on one node.

    On the node, a small helper reads a FIFO into which each runner writes the id of a job that
    ended, and dies with its connection. A callback is fired when its job ended, and after every
    reconnect, since an end may have been missed while nobody listened. So it means "look at the
    job's status now", not more.

    Into the same FIFO a program of the site's may write ``notice preempt EPOCH``: the node goes at
    that second (see :class:`skyport_gates.gate.Spot`). It may say so several times.
    """

    def __init__(self, connection: NodeConnection, log: logging.Logger) -> None:
        self._connection = connection
        self._log = log
        self._subscribers: dict[str, list[Callable[[], None]]] = {}
        self._notice_subscribers: list[Callable[[Notice], None]] = []
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, job_id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Fire ``callback`` on the job's end and after reconnects; the result ends that."""
        callbacks = self._subscribers.setdefault(job_id, [])
        callbacks.append(callback)
        if self._task is None:
            self._connection.keep()
            self._task = asyncio.get_running_loop().create_task(
                self._watch(), name=f"watch {self._connection}"
            )

        def unsubscribe() -> None:
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks and self._subscribers.get(job_id) is callbacks:
                del self._subscribers[job_id]
            if not self._subscribers and self._task is not None:
                self._task.cancel()

        return unsubscribe

    def on_notice(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """Fire ``callback`` when the node is to be taken away; the result ends that.

        Notices are heard as long as somebody subscribes to a job.
        """
        self._notice_subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._notice_subscribers:
                self._notice_subscribers.remove(callback)

        return unsubscribe

    async def close(self) -> None:
        """Stop listening; subscribers hear nothing more."""
        self._subscribers.clear()
        self._notice_subscribers.clear()
        await ended(self._task)

    async def _watch(self) -> None:
        delay = RETRY_FIRST
        me = asyncio.current_task()
        try:
            while True:
                try:
                    heard = await self._listen()
                except (NodeError, asyncssh.Error, OSError) as error:
                    self._log.debug("The watch of %s ended: %s", self._connection, error)
                    heard = False
                delay = RETRY_FIRST if heard else min(delay * 2, RETRY_MAX)
                await asyncio.sleep(delay)
        finally:
            self._connection.unkeep()
            if self._task is me:
                self._task = None
                if self._subscribers:
                    self._restart()

    def _restart(self) -> None:
        """Somebody subscribed while the last subscriber's leaving was under way."""
        self._connection.keep()
        self._task = asyncio.get_running_loop().create_task(
            self._watch(), name=f"watch {self._connection}"
        )

    async def _listen(self) -> bool:
        """One life of the channel; True if the helper got ready."""
        connection = await self._connection.ready(timeout=3600)
        process = await connection.create_process(COMMAND.format("watch -"), encoding="utf-8")
        ready = False
        try:
            process.stdin.write(PROGRAM)
            async for line in process.stdout:
                word = line.strip()
                if word == READY:
                    ready = True
                    self._fire(list(self._subscribers))
                elif notice := NOTICE.fullmatch(word):
                    self._warn(Notice(float(notice.group(1))))
                else:
                    self._fire([word])
            if not ready:
                said = (await process.stderr.read(LAST_WORDS)).strip()
                self._log.warning(
                    "%s cannot tell of jobs that end: %s", self._connection, said or "no reason"
                )
        finally:
            process.close()
        return ready

    def _warn(self, notice: Notice) -> None:
        for callback in tuple(self._notice_subscribers):
            try:
                callback(notice)
            except Exception:
                self._log.exception("A listener for notices of %s failed.", self._connection)

    def _fire(self, job_ids: list[str]) -> None:
        for job_id in job_ids:
            for callback in tuple(self._subscribers.get(job_id, ())):
                try:
                    callback()
                except Exception:
                    self._log.exception("A watcher of job %s failed.", job_id)
