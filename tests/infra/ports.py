"""Free TCP ports of 127.0.0.1, on this machine's side or a fabric's."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterator

from tests.infra.nodes import Fabric

_RANGE = range(15000, 32768)
"""Below the ports that the kernel gives to connections and to listeners that name none."""


def free_ports(count: int, fabric: Fabric | None = None) -> list[int]:
    """``count`` different ports that nothing listens on now.

    Until the caller listens there itself, no other call gives them away: neither in this process
    nor in another lane of the run (see ``tests/conftest.py``).
    """
    found: list[int] = []
    while len(found) < count:
        port = next(_candidates)
        probe = fabric.hub.socket() if fabric else socket.socket()
        with probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            found.append(port)
    return found


def _own_ports() -> Iterator[int]:
    """The ports of this lane, round and round from any one."""
    lane = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    ports = _RANGE[lane :: int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    start = random.randrange(len(ports))
    return itertools.cycle([*ports[start:], *ports[:start]])


_candidates = _own_ports()
