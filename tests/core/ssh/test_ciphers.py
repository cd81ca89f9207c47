"""AES-GCM as sshd and asyncssh itself understand it."""

from __future__ import annotations

import asyncio
import os

import pytest
from asyncssh.constants import MSG_CHANNEL_DATA, MSG_IGNORE
from asyncssh.encryption import GCMEncryption, get_encryption
from asyncssh.packet import UInt32

from skyport_core.ssh.ciphers import ALGORITHMS, GCM
from skyport_core.ssh.pool import ConnectionPool
from skyport_core.ssh.tunnels import InTunnel

from .conftest import StartNode

KEY_SIZES = {"aes128-gcm": 16, "aes256-gcm": 32}
HEADER = 4


def packet(kind: int, size: int) -> tuple[bytes, bytes]:
    """A packet's length and its plain text: padding's length, type, content, padding."""
    plain = bytes([4, kind]) + os.urandom(size) + bytes(4)
    return UInt32(len(plain)), plain


def carried(sender: GCM | GCMEncryption, receiver: GCM | GCMEncryption, size: int) -> bool:
    """Whether a packet arrives as it was sent, cut as a connection cuts it."""
    header, plain = packet(MSG_CHANNEL_DATA, size)
    body, tag = sender.encrypt_packet(0, header, plain)
    wire = body + tag
    first, rest, mac = wire[:16], wire[16:-16], wire[-16:]
    first, length = receiver.decrypt_header(0, first, HEADER)
    assert length == header
    return receiver.decrypt_packet(0, first, rest, HEADER, mac) == plain


@pytest.mark.parametrize("cipher", KEY_SIZES)
@pytest.mark.parametrize("size", [10, 1000, 32768])
def test_packets_are_those_of_the_original(cipher: str, size: int) -> None:
    key, iv = os.urandom(KEY_SIZES[cipher]), os.urandom(12)
    ours, theirs = GCM.new(cipher, key, iv), GCMEncryption.new(cipher, key, iv)
    assert all(carried(ours, theirs, size) for _ in range(3))
    ours, theirs = GCM.new(cipher, key, iv), GCMEncryption.new(cipher, key, iv)
    assert all(carried(theirs, ours, size) for _ in range(3))


def test_the_count_in_the_nonce_wraps_as_in_the_original() -> None:
    key, iv = os.urandom(16), os.urandom(4) + b"\xff" * 8
    ours, theirs = GCM(key, iv), GCMEncryption.new("aes128-gcm", key, iv)
    assert all(carried(ours, theirs, 100) for _ in range(3))


def test_a_changed_packet_is_not_accepted() -> None:
    key, iv = os.urandom(16), os.urandom(12)
    header, plain = packet(MSG_CHANNEL_DATA, 100)
    wire = bytearray(GCM(key, iv).encrypt_packet(0, header, plain)[0])
    wire[50] ^= 1
    first, rest, mac = bytes(wire[:16]), bytes(wire[16:-16]), bytes(wire[-16:])
    assert GCM(key, iv).decrypt_packet(0, first, rest, HEADER, mac) is None


def test_a_packet_to_be_ignored_is_left_out_unnoticed() -> None:
    key, iv = os.urandom(16), os.urandom(12)
    ours, theirs = GCM(key, iv), GCMEncryption.new("aes128-gcm", key, iv)
    assert carried(ours, theirs, 100)
    assert ours.encrypt_packet(1, *packet(MSG_IGNORE, 4)) == (b"", b"")
    assert carried(ours, theirs, 100)


def test_asyncssh_uses_this_implementation() -> None:
    for algorithm, cipher in ALGORITHMS.items():
        key = os.urandom(KEY_SIZES[cipher])
        assert isinstance(get_encryption(algorithm.encode(), key, os.urandom(12)), GCM)


async def _mirror(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(2**16):
        writer.write(data)
        await writer.drain()
    writer.close()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_stream_stays_whole_while_keys_are_exchanged_anew(
    algorithm: str, start_node: StartNode, pool: ConnectionPool
) -> None:
    """sshd asks for new keys after each megabyte."""
    node = start_node("RekeyLimit 1M", f"Ciphers {algorithm}")
    connection = pool.get("lab", node.node(), node.username)
    server = await asyncio.start_server(_mirror, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tunnel = InTunnel(connection, ("127.0.0.1", 0), ("127.0.0.1", port))
    await tunnel.open()
    sent = os.urandom(6 * 2**20)
    try:
        reader, writer = await asyncio.open_connection(*tunnel.listen)
        writer.write(sent)
        writer.write_eof()
        assert await asyncio.wait_for(reader.read(), 60) == sent
        writer.close()
        link = await connection.ready(5)
        assert link.get_extra_info("send_cipher") == algorithm
    finally:
        await tunnel.close()
        server.close()
        await server.wait_closed()
