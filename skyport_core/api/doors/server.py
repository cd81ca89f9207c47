"""The HTTP server of a door that strangers reach: what one of them may take of it."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import re
import time
import weakref
from dataclasses import dataclass
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream, SSLIOStream
from tornado.web import Application

from skyport_gates.timing import ended

HANDSHAKE_TIMEOUT = 10.0
"""Seconds from the connection to the end of its handshake."""

IDLE_TIMEOUT = 300.0
"""Seconds that a connection may wait for its next request, or send at the headers of one."""

TOLD_EVERY = 60.0
"""Seconds between two words to the log about connections that are refused."""

MAX_DRAIN = 256 * 2**20
"""Bytes of a body that are read, for the most part to be dropped, before an answer is given."""

CLOSE_TIMEOUT = 5.0
"""Seconds that handlers get to end when a door is closed."""

log = logging.getLogger("skyport.api")


class DoorError(Exception):
    """A door cannot be opened; the message says why and what to do."""


def _without_content(record: logging.LogRecord) -> bool:
    """Tornado tells the log of headers that it cannot read, and what they hold: tokens, say."""
    if str(record.msg).startswith("Malformed HTTP") and isinstance(record.args, tuple):
        *others, problem = record.args
        record.args = (*others, re.split("[:'\"]", str(problem), maxsplit=1)[0].strip())
    return True


logging.getLogger("tornado.general").addFilter(_without_content)


@dataclass(frozen=True)
class Caps:
    """How many connections may be open at the same time; 0: any number.

    Attributes
    ----------
    total
        Of all peers together.
    peer
        Of one: an IPv4 address, or a /64 of IPv6.
    """

    total: int = 0
    peer: int = 0


class DoorServer(HTTPServer):
    """Closes connections beyond its :class:`Caps`, and those that do not finish their handshake.

    A connection counts from its first moment until it is closed, whatever protocol it changed to:
    nobody is known yet when it opens, so this holds for everybody.
    """

    def initialize(self, *args: Any, caps: Caps | None = None, **kwargs: Any) -> None:
        """Take what Tornado's server does, and the caps."""
        super().initialize(*args, **kwargs)
        self._caps = caps or Caps()
        self._streams: weakref.WeakKeyDictionary[IOStream, str] = weakref.WeakKeyDictionary()
        self._told = float("-inf")

    def handle_stream(self, stream: IOStream, address: Any) -> None:
        """Serve a new connection, or close it."""
        peer = _peer(address)
        if self._is_full(peer):
            stream.close()
            return
        self._streams[stream] = peer
        if isinstance(stream, SSLIOStream):
            limit = asyncio.get_running_loop().call_later(HANDSHAKE_TIMEOUT, stream.close)
            done = stream.wait_for_handshake()
            done.add_done_callback(lambda future: _shaken(future, limit))
        super().handle_stream(stream, address)

    def _is_full(self, peer: str) -> bool:
        peers = [one for stream, one in list(self._streams.items()) if not stream.closed()]
        mine = peers.count(peer)
        whose = f"{len(peers)} connections are open"
        if 0 < self._caps.peer <= mine:
            whose = f"{peer} has {mine} connections open"
        elif not 0 < self._caps.total <= len(peers):
            return False
        now = time.monotonic()
        if now - self._told > TOLD_EVERY:
            self._told = now
            log.warning("A connection of %s was refused: %s, which is the most", peer, whose)
        return True


async def close_server(server: HTTPServer, application: Application) -> None:
    """Stop serving and end what is open. Idempotent.

    On return no handler works any more, so that what it works with can be closed.
    """
    server.stop()
    await server.close_all_connections()
    running: set[asyncio.Task[Any]] = application.settings["running"]
    if running:
        await asyncio.wait(running, timeout=CLOSE_TIMEOUT)
    if running:
        log.warning("%d requests did not end with their door: they are cancelled", len(running))
    await ended(*running)
    await application.settings["guard"].close()


def _peer(address: Any) -> str:
    """Whom a connection counts for: who has one address of IPv6 has a whole network of them."""
    host = str(address[0]) if isinstance(address, tuple) else ""
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, 64), strict=False))


def _shaken(future: asyncio.Future[Any], limit: asyncio.TimerHandle) -> None:
    limit.cancel()
    if not future.cancelled() and future.exception() is not None:
        log.debug("A handshake failed: %s", future.exception())
