"""What is said of machines that answer SSH, and of those that do not, and how."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from skyport_gates.node_health import Address, HealthMonitor, probe
from tests.infra.ports import free_ports
from tests.infra.wait import eventually

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@contextlib.asynccontextmanager
async def _server(handle: Handler, port: int = 0) -> AsyncIterator[Address]:
    server = await asyncio.start_server(handle, "127.0.0.1", port)
    try:
        yield Address("127.0.0.1", server.sockets[0].getsockname()[1])
    finally:
        server.close()


def _greeter(text: bytes) -> Handler:
    async def handle(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        writer.close()

    return handle


async def _silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


class TestProbe:
    async def test_an_ssh_greeting_is_healthy(self) -> None:
        async with _server(_greeter(b"SSH-2.0-test\r\n")) as address:
            assert await probe(address, 5) == ""

    async def test_lines_before_the_greeting_are_allowed(self) -> None:
        async with _server(_greeter(b"welcome\r\nto this\r\nSSH-2.0-test\r\n")) as address:
            assert await probe(address, 5) == ""

    async def test_a_refused_connection_is_told(self) -> None:
        address = Address("127.0.0.1", free_ports(1)[0])
        assert await probe(address, 5) == (
            f"refuses connections on {address}: no SSH server listens there"
        )

    async def test_a_machine_that_is_off_is_told(self) -> None:
        # A full backlog drops the connection's first packet, as a machine that is off does.
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = Address(*listener.getsockname())
            for _ in range(3):
                client = stack.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(address)
            assert await probe(address, 0.3) == (
                f"does not answer on {address} (timed out after 0.3 s)"
            )

    async def test_a_silent_server_is_told(self) -> None:
        async with _server(_silent) as address:
            assert await probe(address, 0.2) == (
                f"sends no SSH greeting on {address} (timed out after 0.2 s)"
            )

    async def test_a_server_that_hangs_up_is_told(self) -> None:
        async with _server(_greeter(b"")) as address:
            assert await probe(address, 5) == (
                f"closes connections on {address} before the SSH greeting"
            )

    @pytest.mark.parametrize("text", [b"HTTP/1.1 400 no\r\n" * 60, b"x" * 200_000])
    async def test_another_protocol_is_told(self, text: bytes) -> None:
        async with _server(_greeter(text)) as address:
            assert await probe(address, 5) == f"answers on {address}, but not as an SSH server"

    async def test_a_name_that_does_not_exist_is_told(self) -> None:
        reason = await probe(Address("no-such-host.invalid", 22), 5)
        assert reason.startswith("name no-such-host.invalid cannot be resolved")

    async def test_a_name_that_cannot_exist_is_told(self) -> None:
        name = f"{'x' * 70}.example"
        assert await probe(Address(name, 22), 5) == f"'{name}' is not a host name"

    def test_an_ipv6_address_is_written_in_brackets(self) -> None:
        assert str(Address("fe80::1", 22)) == "[fe80::1]:22"


class TestMonitor:
    async def test_changes_are_told_once_each_and_a_down_machine_is_looked_at_sooner(self) -> None:
        changes: list[str] = []
        address = Address("127.0.0.1", free_ports(1)[0])
        monitor = HealthMonitor(
            [address],
            interval=60,
            down_interval=0.02,
            timeout=5,
            changed=lambda _, reason: changes.append(reason),
        )
        await monitor.start(5)
        try:
            assert "refuses connections" in monitor.reason(address)
            await monitor.check(address)
            async with _server(_greeter(b"SSH-2.0-test\r\n"), address.port):
                await eventually(lambda: monitor.reason(address) == "", "the machine is up")
            await monitor.check(address)
            assert [bool(reason) for reason in changes] == [True, False, True]
        finally:
            await monitor.close()

    async def test_a_slow_machine_does_not_hold_up_the_others(self) -> None:
        async with _server(_silent) as slow, _server(_greeter(b"SSH-2.0-test\r\n")) as quick:
            monitor = HealthMonitor(
                [slow, quick],
                interval=60,
                down_interval=5,
                timeout=30,
                changed=lambda *_: None,
            )
            await monitor.start(0.0)
            try:
                await eventually(lambda: monitor.reason(quick) == "", "the quick one is up")
                assert monitor.reason(slow) == f"has not answered yet on {slow}"
            finally:
                await monitor.close()

    async def test_fifty_machines_are_looked_at_at_once(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            slow = [await stack.enter_async_context(_server(_silent)) for _ in range(50)]
            monitor = HealthMonitor(
                slow, interval=60, down_interval=60, timeout=0.5, changed=lambda *_: None
            )
            await asyncio.wait_for(monitor.start(patience=60), 5)
            assert all("sends no SSH greeting" in monitor.reason(address) for address in slow)
            await monitor.close()
