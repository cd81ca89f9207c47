"""Tunnels: bytes, half-close and back-pressure through them, and surviving what breaks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from skyport_core.ssh import tunnels
from skyport_core.ssh.connection import NodeConnection
from skyport_core.ssh.errors import AddressInUse, ForwardRefused
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.tunnels import InTunnel, OutTunnel
from tests.infra.sshd import SSHD

from .conftest import StartNode
from .waiting import until

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[[Handler], Awaitable[tuple[str, int]]]
MIB = 2**20


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start TCP services on loopback; they are closed at the end."""
    servers: list[asyncio.AbstractServer] = []

    async def start(handler: Handler) -> tuple[str, int]:
        server = await asyncio.start_server(handler, "127.0.0.1", 0)
        servers.append(server)
        address: tuple[str, int] = server.sockets[0].getsockname()
        return address

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def in_tunnel(
    connection: NodeConnection,
) -> AsyncIterator[Callable[..., Awaitable[InTunnel]]]:
    made: list[InTunnel] = []

    async def make(target: tuple[str, int], **options: Any) -> InTunnel:
        made.append(InTunnel(connection, ("127.0.0.1", 0), target, **options))
        await made[-1].open()
        return made[-1]

    yield make
    for tunnel in made:
        await tunnel.close()


OpenIn = Callable[..., Awaitable[InTunnel]]


async def ask(address: tuple[str, int], data: bytes) -> bytes:
    """Send ``data``, end the sending side, and return all that comes back."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


async def test_bytes_go_there_and_back(in_tunnel: OpenIn, serve: Serve) -> None:
    tunnel = await in_tunnel(await serve(echo))
    assert await ask(tunnel.listen, b"hello") == b"hello"


async def test_a_half_closed_connection_still_carries_the_answer(
    in_tunnel: OpenIn, serve: Serve
) -> None:
    async def answer_after_the_end(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        data = await reader.read()
        writer.write(hashlib.sha256(data).digest())
        writer.close()

    tunnel = await in_tunnel(await serve(answer_after_the_end))
    data = os.urandom(3 * MIB)
    assert await ask(tunnel.listen, data) == hashlib.sha256(data).digest()


async def test_a_server_that_closes_at_once_loses_nothing_for_a_slow_reader(
    in_tunnel: OpenIn, serve: Serve
) -> None:
    data = os.urandom(24 * MIB)

    async def send_and_close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        writer.close()

    tunnel = await in_tunnel(await serve(send_and_close))
    reader, writer = await asyncio.open_connection(*tunnel.listen, limit=4096)
    received = hashlib.sha256()
    while piece := await reader.read(MIB):
        received.update(piece)
        await asyncio.sleep(0)
    writer.close()
    assert received.digest() == hashlib.sha256(data).digest()


async def test_a_reader_that_stops_stops_the_writer(in_tunnel: OpenIn, serve: Serve) -> None:
    sent = 0
    stalled = asyncio.Event()

    async def send_forever(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while True:
                writer.write(bytes(MIB))
                await asyncio.wait_for(writer.drain(), 1)
                sent += MIB
        except asyncio.TimeoutError:
            stalled.set()
        writer.transport.abort()

    tunnel = await in_tunnel(await serve(send_forever))
    _, writer = await asyncio.open_connection(*tunnel.listen, limit=4096)
    await asyncio.wait_for(stalled.wait(), 20)
    assert sent < 64 * MIB
    writer.transport.abort()


async def test_many_connections_at_once_do_not_mix(in_tunnel: OpenIn, serve: Serve) -> None:
    tunnel = await in_tunnel(await serve(echo))
    texts = [f"text {number} ".encode() * 1000 for number in range(50)]
    assert await asyncio.gather(*(ask(tunnel.listen, text) for text in texts)) == texts


async def test_a_connection_to_a_closed_port_is_dropped(in_tunnel: OpenIn) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tunnel = await in_tunnel(unused.getsockname())
        reader, writer = await asyncio.open_connection(*tunnel.listen)
        with pytest.raises(ConnectionResetError):
            assert await reader.read() != b""
        writer.close()


async def test_a_taken_address_is_named(connection: NodeConnection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(AddressInUse, match=f"127.0.0.1:{address[1]}"):
            await InTunnel(connection, address, ("127.0.0.1", 1)).open()


async def test_the_listener_is_there_before_the_node(
    connection: NodeConnection, node: SSHD, in_tunnel: OpenIn, serve: Serve
) -> None:
    node.kill()
    tunnel = await in_tunnel(await serve(echo))
    asking = asyncio.ensure_future(ask(tunnel.listen, b"early"))
    await until(lambda: connection.last_error is not None, "an attempt failed")
    assert not asking.done()
    node.start()
    assert await asyncio.wait_for(asking, 20) == b"early"


async def test_connections_made_while_ssh_is_away_work_when_it_is_back(
    connection: NodeConnection, node: SSHD, in_tunnel: OpenIn, serve: Serve
) -> None:
    tunnel = await in_tunnel(await serve(echo))
    assert await ask(tunnel.listen, b"before") == b"before"
    node.kill()
    await until(lambda: connection.last_error is not None, "the loss is noticed")
    asking = [asyncio.ensure_future(ask(tunnel.listen, b"x" * 200_000)) for _ in range(5)]
    node.start()
    assert await asyncio.wait_for(asyncio.gather(*asking), 20) == [b"x" * 200_000] * 5


async def test_a_connection_waits_no_longer_than_told(
    node: SSHD, in_tunnel: OpenIn, serve: Serve
) -> None:
    node.kill()
    tunnel = await in_tunnel(await serve(echo), wait=0.3)
    reader, writer = await asyncio.open_connection(*tunnel.listen)
    with pytest.raises(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) != b""
    assert tunnel.last_error is not None
    writer.close()


async def test_open_connections_end_when_ssh_is_lost(
    node: SSHD, in_tunnel: OpenIn, serve: Serve
) -> None:
    tunnel = await in_tunnel(await serve(echo))
    reader, writer = await asyncio.open_connection(*tunnel.listen)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    node.cut()
    with pytest.raises(ConnectionResetError):
        assert await asyncio.wait_for(reader.read(), 10) != b""
    writer.close()


async def test_a_closed_tunnel_frees_its_address_and_ends_its_connections(
    connection: NodeConnection, in_tunnel: OpenIn, serve: Serve
) -> None:
    tunnel = await in_tunnel(await serve(echo))
    reader, writer = await asyncio.open_connection(*tunnel.listen)
    writer.write(b"x")
    assert await reader.readexactly(1) == b"x"
    await tunnel.close()
    with pytest.raises(ConnectionResetError):
        assert await reader.read() != b""
    again = InTunnel(connection, tunnel.listen, tunnel.target)
    await again.open()
    await again.close()
    writer.close()


async def test_a_node_that_forwards_nothing_is_named(
    pool: ConnectionPool, start_node: StartNode, serve: Serve
) -> None:
    node = start_node("AllowTcpForwarding no")
    connection = pool.get("lab", node.node(), node.username)
    tunnel = InTunnel(connection, ("127.0.0.1", 0), await serve(echo))
    await tunnel.open()
    _, writer = await asyncio.open_connection(*tunnel.listen)
    await until(lambda: isinstance(tunnel.last_error, ForwardRefused), "the refusal is noted")
    writer.close()
    await tunnel.close()
    with pytest.raises(ForwardRefused) as caught:
        await OutTunnel(connection, ("127.0.0.1", 9)).open()
    assert caught.value.permanent


async def test_an_out_tunnel_leads_from_the_node_to_a_service_here(
    connection: NodeConnection, serve: Serve
) -> None:
    tunnel = OutTunnel(connection, await serve(echo))
    port = await tunnel.open()
    data = os.urandom(2 * MIB)
    assert await ask(("127.0.0.1", port), data) == data
    await tunnel.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_several_out_tunnels_share_a_connection(
    connection: NodeConnection, serve: Serve
) -> None:
    async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"other")
        writer.close()

    first, second = (
        OutTunnel(connection, await serve(echo)),
        OutTunnel(connection, await serve(other)),
    )
    ports = await asyncio.gather(first.open(), second.open())
    assert await ask(("127.0.0.1", ports[0]), b"one") == b"one"
    assert await ask(("127.0.0.1", ports[1]), b"") == b"other"
    await asyncio.gather(first.close(), second.close())


async def test_an_out_tunnel_gets_its_port_back_after_sshd_was_killed(
    connection: NodeConnection, node: SSHD, serve: Serve
) -> None:
    tunnel = OutTunnel(connection, await serve(echo))
    port = await tunnel.open()
    node.kill()
    await until(lambda: not tunnel.up.is_set(), "the loss is noticed")
    node.start()
    await asyncio.wait_for(tunnel.up.wait(), 20)
    assert tunnel.port == port
    assert await ask(("127.0.0.1", port), b"again") == b"again"
    await tunnel.close()


async def test_an_out_tunnel_waits_for_a_port_that_is_still_held(
    connection: NodeConnection, node: SSHD, serve: Serve
) -> None:
    tunnel = OutTunnel(connection, await serve(echo))
    port = await tunnel.open()
    node.kill()
    await until(lambda: not tunnel.up.is_set(), "the loss is noticed")
    with socket.create_server(("127.0.0.1", port)):
        node.start()
        await connection.ready(20)
        assert (await connection.run(["true"], timeout=10)).exit_status == 0
        assert not tunnel.up.is_set()
    await asyncio.wait_for(tunnel.up.wait(), 20)
    assert await ask(("127.0.0.1", port), b"at last") == b"at last"
    await tunnel.close()


async def test_a_given_port_that_another_program_holds_is_named(
    connection: NodeConnection, serve: Serve
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressInUse, match=str(port)):
            await OutTunnel(connection, await serve(echo), port).open(timeout=1)


async def test_an_out_tunnel_to_a_service_that_is_down_refuses_connections(
    connection: NodeConnection,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        tunnel = OutTunnel(connection, unused.getsockname())
        port = await tunnel.open()
        assert await ask(("127.0.0.1", port), b"") == b""
        await tunnel.close()


async def test_an_in_tunnel_leads_to_its_second_target_if_the_first_does_not_answer(
    in_tunnel: OpenIn, serve: Serve
) -> None:
    address = await serve(echo)
    tunnel = await in_tunnel(("127.77.0.1", address[1]), fallback=address)
    assert await ask(tunnel.listen, b"hello") == b"hello"
    await until(lambda: tunnel.count == 0, "the connection's end")


async def test_a_port_that_is_borrowed_is_taken_over_when_it_is_free(
    connection: NodeConnection, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "OBTAIN_AGAIN", 0.05)
    # The time for connecting does not count.
    monkeypatch.setattr(tunnels, "BORROW_PATIENCE", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        tunnel = OutTunnel(connection, await serve(echo), port, borrow=True)
        assert await tunnel.open() == port
        assert tunnel.borrowed
    await asyncio.wait_for(tunnel.up.wait(), 10)
    assert not tunnel.borrowed
    assert await ask(("127.0.0.1", port), b"ours") == b"ours"
    await tunnel.close()
