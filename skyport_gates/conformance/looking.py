"""How the kit looks at gates: with patience, and with cancelled calls."""
# ruff: noqa: S101 - these are tests

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncssh

from ..gate import Gate, Node, SSHEndpoint

T = TypeVar("T")
CANCEL_AFTER = (0.0, 0.002, 0.02, 0.1)
"""Seconds after which a call is cancelled, in turn."""


def check_endpoint(node: Node) -> None:
    """Every hop of a node's endpoint has an address and a key that can be read."""
    endpoint: SSHEndpoint | None = node.endpoint
    while endpoint is not None:
        assert endpoint.host and 0 < endpoint.port < 65536, f"{node.name}: {endpoint}"
        keys = [*endpoint.host_keys, *endpoint.host_cas]
        assert keys, f"{node.name}: no host key for {endpoint.host}:{endpoint.port}"
        for line in keys:
            asyncssh.import_public_key(line)
        endpoint = endpoint.jump


def new_name() -> str:
    """A name that no partition had before."""
    return f"conformance-{uuid.uuid4().hex[:12]}"


async def names(gate: Gate) -> list[str]:
    """What list() shows."""
    return [partition.name for partition in await gate.list()]


async def seconds(call: Callable[[], Awaitable[object]]) -> float:
    """How long a call takes."""
    begin = time.monotonic()
    await call()
    return time.monotonic() - begin


async def cancelled(call: Awaitable[object], delay: float) -> None:
    """Run a call for ``delay`` seconds, then cancel it; what it raises by itself is raised."""
    task = asyncio.ensure_future(call)
    await asyncio.wait([task], timeout=delay)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def eventually(look: Callable[[], Awaitable[T | None]], timeout: float, what: str) -> T:
    """Look until something is found; fails, saying ``what``, after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    pause = 0.05
    while not (found := await look()):
        assert time.monotonic() < deadline, f"not within {timeout:g} s: {what}"
        await asyncio.sleep(pause)
        pause = min(pause * 1.5, 5.0)
    return found
