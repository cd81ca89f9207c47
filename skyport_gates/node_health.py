"""Whether machines answer SSH: looked at in the background, without a login."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import ipaddress
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import NamedTuple

from .timing import in_time

GREETING = b"SSH-"
MAX_GREETING_LINES = 50
"""Lines that a server may send before its greeting (RFC 4253, section 4.2, sets no limit)."""

AT_ONCE = 64
"""Machines looked at at the same time."""

LOOKUPS_AT_ONCE = 4
"""Threads for name lookups: of their own, since a dead name server blocks each for long."""


class Address(NamedTuple):
    """A TCP address."""

    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


async def probe(address: Address, timeout: float, resolver: Executor | None = None) -> str:
    """Connect, read the SSH greeting and hang up: "" if it came, else why not.

    ``timeout`` is in seconds and covers all of it; ``resolver`` runs the name lookup.
    """
    progress = _Progress()
    try:
        return await in_time(_greeting(address, progress, resolver), timeout)
    except asyncio.TimeoutError:
        what = "sends no SSH greeting" if progress.connected else "does not answer"
        return f"{what} on {address} (timed out after {timeout:g} s)"
    except ConnectionRefusedError:
        return f"refuses connections on {address}: no SSH server listens there"
    except ConnectionError:
        return f"drops connections on {address} before the SSH greeting"
    except socket.gaierror as error:
        return f"name {address.host} cannot be resolved: {error.strerror}"
    except UnicodeError:
        return f"{address.host!r} is not a host name"
    except OSError as error:
        return f"cannot be reached on {address}: {error.strerror or error}"


class _Progress:
    connected = False


async def _resolve(address: Address, resolver: Executor | None) -> list[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(address.host))]
    lookup = functools.partial(socket.getaddrinfo, *address, type=socket.SOCK_STREAM)
    found = await asyncio.get_running_loop().run_in_executor(resolver, lookup)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _connect(
    address: Address, resolver: Executor | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    failure: OSError = OSError("the name has no address")
    for host in await _resolve(address, resolver):
        try:
            return await asyncio.open_connection(host, address.port)
        except OSError as error:
            failure = error
    raise failure


async def _greeting(address: Address, progress: _Progress, resolver: Executor | None) -> str:
    reader, writer = await _connect(address, resolver)
    progress.connected = True
    try:
        for _ in range(MAX_GREETING_LINES):
            line = await reader.readline()
            if line.startswith(GREETING):
                return ""
            if not line:
                return f"closes connections on {address} before the SSH greeting"
    except ValueError:
        pass  # a line without end: some other protocol
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    return f"answers on {address}, but not as an SSH server"


class HealthMonitor:
    """Looks at addresses again and again, each at its own pace.

    Parameters
    ----------
    addresses : iterable of Address
        What to look at.
    interval, down_interval : float
        Seconds between two looks at an address that answered, and at one that did not.
    timeout : float
        Seconds that one look may take.
    changed : callable
        Called with the address and its reason ("" for healthy) after each change.
    """

    def __init__(
        self,
        addresses: Iterable[Address],
        *,
        interval: float,
        down_interval: float,
        timeout: float,
        changed: Callable[[Address, str], None],
    ) -> None:
        self._reasons: dict[Address, str | None] = dict.fromkeys(addresses)
        self._interval = interval
        self._down_interval = min(down_interval, interval)
        self._timeout = timeout
        self._changed = changed
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._resolver = ThreadPoolExecutor(LOOKUPS_AT_ONCE, "skyport-lookup")
        self._tasks: list[asyncio.Task[None]] = []
        self._all_seen = asyncio.Event()

    async def start(self, patience: float) -> None:
        """Begin, and return once every address was looked at or ``patience`` seconds passed."""
        self._tasks = [asyncio.ensure_future(self._watch(address)) for address in self._reasons]
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._all_seen.wait(), patience)

    async def close(self) -> None:
        """Stop looking."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._resolver.shutdown(wait=False, cancel_futures=True)

    def reason(self, address: Address) -> str:
        """Why an address is not healthy, as of the last look; "" if it is."""
        reason = self._reasons[address]
        return f"has not answered yet on {address}" if reason is None else reason

    async def check(self, address: Address) -> str:
        """Look now; the reason as :meth:`reason` gives it."""
        async with self._slots:
            reason = await probe(address, self._timeout, self._resolver)
        before, self._reasons[address] = self._reasons[address], reason
        if None not in self._reasons.values():
            self._all_seen.set()
        if bool(before) != bool(reason):
            self._changed(address, reason)
        return reason

    async def _watch(self, address: Address) -> None:
        while True:
            reason = await self.check(address)
            await asyncio.sleep(self._down_interval if reason else self._interval)
