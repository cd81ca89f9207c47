"""Ends open connections whose caller may not come in any more."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass

from tornado.http1connection import HTTP1Connection
from tornado.httputil import HTTPServerRequest
from tornado.iostream import IOStream

from skyport_gates.timing import ended, in_time

from ..caller import Caller, Credential

INTERVAL = 0.4
"""Seconds between two looks at the credentials in use, so that a connection ends within one."""

PATIENCE = 5.0
"""Seconds that one look at a credential may take; then it is tried again."""

GRACE = 30.0
"""Seconds that a connection stays open while its credential cannot be judged."""

log = logging.getLogger("skyport.api")


@dataclass(frozen=True)
class _Use:
    """A credential as somebody uses it: what it lets them do may change too."""

    key: str
    caller: Caller


@dataclass(frozen=True)
class _Watched:
    stream: IOStream
    use: _Use
    credential: Credential


class Guard:
    """Watches the requests that are being answered: streams, websockets, uploads.

    A connection whose credential loses its validity is closed in the midst of its answer. Each
    credential is looked at once a round, however many connections use it. Between requests
    nothing is watched: the next one on the same connection is refused anyway.

    Parameters
    ----------
    interval : float
        Seconds between two rounds.
    grace : float
        Seconds that a connection stays open while its credential cannot be judged.
    """

    def __init__(self, interval: float = INTERVAL, grace: float = GRACE) -> None:
        self._interval = interval
        self._grace = grace
        self._sure: dict[_Use, float] = {}
        self._watched: dict[asyncio.Future[None], _Watched] = {}
        self._rounds: asyncio.Task[None] | None = None

    def watch(self, gone: asyncio.Future[None], request: HTTPServerRequest, caller: Caller) -> None:
        """Watch a request until its answer has ``gone``; nothing without a credential."""
        credential = caller.credential
        connection = request.connection
        # A websocket takes its stream away from the connection later.
        stream = connection.stream if isinstance(connection, HTTP1Connection) else None
        if stream is None or credential is None:
            return
        use = _Use(credential.key, caller)
        self._watched[gone] = _Watched(stream, use, credential)
        self._sure[use] = time.monotonic()
        gone.add_done_callback(self._forget)
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._look_on(), name="guard")

    async def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        self._watched.clear()
        rounds, self._rounds = self._rounds, None
        await ended(rounds)

    def _forget(self, gone: asyncio.Future[None]) -> None:
        self._watched.pop(gone, None)

    async def _look_on(self) -> None:
        looks: dict[_Use, asyncio.Task[None]] = {}
        try:
            while self._watched:
                await asyncio.sleep(self._interval)
                looks = {use: look for use, look in looks.items() if not look.done()}
                in_use = {one.use: one.credential for one in self._watched.values()}
                self._sure = {use: at for use, at in self._sure.items() if use in in_use}
                # One credential that is slow to judge holds up no other.
                for use in in_use.keys() - looks.keys():
                    looks[use] = asyncio.create_task(self._judge(use, in_use[use]))
        finally:
            await ended(*looks.values())

    async def _judge(self, use: _Use, credential: Credential) -> None:
        try:
            valid = await in_time(credential.valid(), PATIENCE)
        except Exception:
            log.exception("Whether %s is still valid could not be told", use.key)
            valid = time.monotonic() - self._sure.get(use, 0.0) < self._grace
        else:
            self._sure[use] = time.monotonic()
        if not valid:
            self._close(use)

    def _close(self, use: _Use) -> None:
        streams = {one.stream for one in self._watched.values() if one.use == use}
        log.info("%s is not valid any more: %d connections are closed", use.key, len(streams))
        for stream in streams:
            stream.close()
