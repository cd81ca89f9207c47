"""Free TCP ports of 127.0.0.1, on this machine's side or a fabric's."""

from __future__ import annotations

import contextlib
import socket

from tests.infra.nodes import Fabric


def free_ports(count: int, fabric: Fabric | None = None) -> list[int]:
    """``count`` different ports that nothing listens on now."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(count):
            probe = stack.enter_context(fabric.hub.socket() if fabric else socket.socket())
            probe.bind(("127.0.0.1", 0))
            found.append(int(probe.getsockname()[1]))
        return found
