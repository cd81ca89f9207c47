"""Tunnels of the core in a process of their own, as the core holds them.

``python -m benchmarks.carrier HOME SSHD_PORT HOST_KEY USER TARGET_PORT`` reads numbers, one a line,
from its standard input. For each it opens so many more tunnels to TARGET_PORT of the node, all over
one connection, and prints their addresses as JSON. It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from pathlib import Path

from skyport_core.model import core_address
from skyport_core.ssh.identity import SSHIdentity
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.tunnels import InTunnel
from skyport_gates.gate import Node, SSHEndpoint


async def carry(home: Path, port: int, host_key: str, username: str, target: int) -> None:
    """Open tunnels as they are asked for, until the input ends."""
    pool = ConnectionPool(SSHIdentity.load(home), log=logging.getLogger("carrier"))
    endpoint = SSHEndpoint("127.0.0.1", port, username=username, host_keys=(host_key,))
    connection = pool.get("benchmark", Node("node", endpoint), username)
    await connection.ready(10)
    tunnels: list[InTunnel] = []
    while line := await asyncio.to_thread(sys.stdin.readline):
        first = len(tunnels)
        for number in range(first, first + int(line)):
            tunnel = InTunnel(connection, (core_address(number + 1), target), ("127.0.0.1", target))
            await tunnel.open()
            tunnels.append(tunnel)
        print(json.dumps([tunnel.listen for tunnel in tunnels[first:]]), flush=True)
    for tunnel in tunnels:
        await tunnel.close()
    await pool.close()


def main() -> None:
    """Run as the module's docstring says."""
    home, port, host_key, username, target = sys.argv[1:]
    asyncio.run(carry(Path(home), int(port), host_key, username, int(target)))


if __name__ == "__main__":
    main()
