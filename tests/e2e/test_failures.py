"""A start that cannot work says so at once, in words the user can act on, with the log's end."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from tests.e2e.steps import hub_over, lab
from tests.infra.hub import SpawnFailedError
from tests.infra.lab import TINY
from tests.infra.nodes import Fabric, Node
from tests.infra.requirements import needs_nodes

pytestmark = needs_nodes

LIMIT = 15.0  # seconds from the request to the message


async def failed_start(fabric: Fabric, node: Node, command: Sequence[str] = TINY) -> str:
    """Start alice's server, which must fail in time; the message that she sees."""
    async with lab(fabric, [node]) as core, hub_over(core, fabric, command) as hub:
        return await message_of_failure(hub)


async def message_of_failure(hub) -> str:
    began = time.monotonic()
    await hub.start_server("alice")
    with pytest.raises(SpawnFailedError) as caught:
        await hub.wait_ready("alice")
    assert time.monotonic() - began < LIMIT
    event = caught.value.event
    return f"{event['message']} {event.get('html_message', '')}"


async def test_another_host_key(fabric: Fabric, node: Node):
    async with lab(fabric, [node]) as core, hub_over(core, fabric) as hub:
        node.swap_host_key()
        message = await message_of_failure(hub)
    assert "host key" in message
    assert "node1" in message


async def test_a_login_without_a_shell(fabric: Fabric, node: Node):
    node.set_shell("alice", "/usr/sbin/nologin")
    try:
        message = await failed_start(fabric, node)
    finally:
        node.set_shell("alice", "/bin/bash")
    assert "runs no commands" in message
    assert "not available" in message


async def test_an_unknown_login(fabric: Fabric, node: Node):
    node.run(["sed", "-i", "s/^alice:/gone:/", "/etc/passwd"])
    try:
        message = await failed_start(fabric, node)
    finally:
        node.run(["sed", "-i", "s/^gone:/alice:/", "/etc/passwd"])
    assert "alice" in message
    assert "node1" in message


async def test_a_full_disk(fabric: Fabric, node: Node):
    node.fill_disk("alice")
    try:
        message = await failed_start(fabric, node)
    finally:
        node.free_disk("alice")
    assert "has no room left" in message


async def test_a_server_that_ends_at_once(fabric: Fabric, node: Node):
    message = await failed_start(fabric, node, [*TINY, "--exit", "7"])
    assert "exit status 7" in message
    assert "the last words of the server" in message


async def test_a_server_that_ends_at_once_without_an_error(fabric: Fabric, node: Node):
    message = await failed_start(fabric, node, [*TINY, "--exit", "0"])
    assert "before it" in message
    assert "the last words of the server" in message


async def test_an_address_that_is_taken(fabric: Fabric, node: Node):
    squat = "import socket, time; s = socket.create_server(('', 8888)); print('on', flush=True)"
    script = (
        f'python3 -c "{squat}; time.sleep(600)" > /tmp/squat 2>&1 &'
        " echo $!; until grep -q on /tmp/squat; do sleep 0.05; done"
    )
    pid = node.run(["sh", "-c", script]).stdout.strip()
    try:
        message = await failed_start(fabric, node)
    finally:
        node.run(["kill", pid])
    assert "8888" in message
    assert "in use" in message


async def test_a_command_that_is_not_there(fabric: Fabric, node: Node):
    message = await failed_start(fabric, node, ["/opt/none/jupyterhub-singleuser"])
    assert "/opt/none/jupyterhub-singleuser" in message
    assert "not found" in message
