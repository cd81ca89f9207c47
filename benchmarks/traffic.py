"""Load for tunnels: a server that sends, takes or echoes, and the clients that time it.

``python -m benchmarks.traffic`` serves on a free port of 127.0.0.1, prints it, and ends when its
standard input is closed. A connection says in its first byte what it wants: ``D`` or ``U`` and
eight bytes of length for so many bytes down or up, ``E`` for an echo.
"""

from __future__ import annotations

import socket
import socketserver
import struct
import sys
import threading
import time

CHUNK = 1 << 20
_LENGTH = struct.Struct(">Q")
_ZEROS = memoryview(bytes(CHUNK))

Address = tuple[str, int]


class _Handler(socketserver.BaseRequestHandler):
    request: socket.socket

    def handle(self) -> None:
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wish = self.request.recv(1)
        if wish == b"D":
            _send(self.request, self._length())
        elif wish == b"U":
            _receive(self.request, self._length())
            self.request.sendall(b"k")
        elif wish == b"E":
            while data := self.request.recv(65536):
                self.request.sendall(data)

    def _length(self) -> int:
        size: int = _LENGTH.unpack(self.request.recv(_LENGTH.size, socket.MSG_WAITALL))[0]
        return size


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


def connect(address: Address) -> socket.socket:
    """A connection that sends at once and never waits longer than a minute."""
    connection = socket.create_connection(address, timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def download(address: Address, size: int) -> float:
    """Take ``size`` bytes through one connection; MiB/s."""
    with connect(address) as connection:
        start = time.perf_counter()
        connection.sendall(b"D" + _LENGTH.pack(size))
        _receive(connection, size)
        return size / 2**20 / (time.perf_counter() - start)


def upload(address: Address, size: int) -> float:
    """Send ``size`` bytes through one connection until the far end has them; MiB/s."""
    with connect(address) as connection:
        start = time.perf_counter()
        connection.sendall(b"U" + _LENGTH.pack(size))
        _send(connection, size)
        _receive(connection, 1)
        return size / 2**20 / (time.perf_counter() - start)


def echo(address: Address, count: int) -> list[float]:
    """Round-trip times of ``count`` single bytes, sorted, in microseconds."""
    times = []
    with connect(address) as connection:
        connection.sendall(b"Ex")
        _receive(connection, 1)
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(b"x")
            _receive(connection, 1)
            times.append((time.perf_counter() - start) * 1e6)
    return sorted(times)


def hold(address: Address) -> socket.socket:
    """A connection that has been carried to the far end, left open."""
    connection = connect(address)
    connection.sendall(b"Ex")
    _receive(connection, 1)
    return connection


def _send(connection: socket.socket, size: int) -> None:
    while size:
        part = min(size, CHUNK)
        connection.sendall(_ZEROS[:part])
        size -= part


def _receive(connection: socket.socket, size: int) -> None:
    buffer = bytearray(min(size, CHUNK))
    while size:
        count = connection.recv_into(buffer, min(size, len(buffer)))
        if not count:
            raise ConnectionError(f"the connection ended {size} bytes early")
        size -= count


def main() -> None:
    """Serve until standard input is closed."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_address[1], flush=True)
        sys.stdin.read()
        server.shutdown()


if __name__ == "__main__":
    main()
