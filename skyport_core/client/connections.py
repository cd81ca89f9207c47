"""Calls that reach the node of a job: a shell there, and its ports."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..wire import ShellQuery
from .calls import Calls, arguments, job_path
from .errors import CoreError, CoreUnavailable
from .transport import Socket, Transport

_PIECE = 2**16
_FRAME = 2**18
"""Bytes of one frame; the core takes up to 1 MiB."""

_DONE = 1000
_REFUSALS = {1001: (409, "not_running"), 1003: (422, "invalid"), 1008: (401, "unauthorized")}
"""What close codes of the core mean, as errors of its HTTP side."""


@dataclass(frozen=True)
class Exit:
    """How a program on a node ended: ``status``, or the ``signal`` that ended it."""

    status: int | None
    signal: str | None = None


class Channel:
    """Bytes in both directions through a WebSocket."""

    def __init__(self, transport: Transport, socket: Socket) -> None:
        self._transport = transport
        self._socket = socket

    async def write(self, data: bytes) -> None:
        """Send; returns once there is room for what comes next."""
        with self._transport.plainly():
            for start in range(0, len(data), _FRAME):
                await self._socket.send_bytes(data[start : start + _FRAME])

    async def write_eof(self) -> None:
        """Nothing more will be written; the other end sees the end of its input."""
        await self._tell({"eof": True})

    async def close(self) -> None:
        """Hang up. Idempotent."""
        await self._socket.close()

    async def _tell(self, message: object) -> None:
        with self._transport.plainly():
            await self._socket.send_str(json.dumps(message))

    async def _messages(self) -> AsyncGenerator[bytes | dict[str, Any], None]:
        """Bytes, and objects of control, until the other end is done."""
        kinds = aiohttp.WSMsgType
        with self._transport.plainly():
            while True:
                message = await self._socket.receive()
                if message.type is kinds.BINARY:
                    yield message.data
                elif message.type is kinds.TEXT:
                    yield json.loads(message.data)
                elif message.type is kinds.CLOSE and message.data == _DONE:
                    return
                elif message.type is kinds.CLOSE and message.data in _REFUSALS:
                    status, code = _REFUSALS[message.data]
                    raise CoreError(status, code, f"{message.extra or 'The core hung up'}.")
                else:
                    raise CoreUnavailable(f"{self._transport.where}: the connection broke.")


class Port(Channel):
    """One TCP connection to a port of a job."""

    async def read(self) -> AsyncGenerator[bytes, None]:
        """What the program sends; empty bytes when it sends no more, but may still read."""
        async for message in self._messages():
            if isinstance(message, bytes):
                yield message
            elif message.get("eof"):
                yield b""


class Shell(Channel):
    """A program on the node of a job, with or without a terminal."""

    def __init__(self, transport: Transport, socket: Socket, *, terminal: bool) -> None:
        super().__init__(transport, socket)
        self._terminal = terminal
        self._exit: Exit | None = None

    @property
    def exit(self) -> Exit | None:
        """How the program ended, once :meth:`read` has come to its end."""
        return self._exit

    async def read(self) -> AsyncGenerator[tuple[int, bytes], None]:
        """What the program writes, with 1 (standard output) or 2 (standard error), to its end."""
        async for message in self._messages():
            if isinstance(message, dict):
                self._exit = Exit(message.get("exit"), message.get("signal"))
            elif self._terminal:
                yield 1, message
            elif message:
                yield message[0], message[1:]

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the program that its terminal has another size now."""
        await self._tell({"resize": [columns, rows]})


class ConnectionCalls(Calls):
    """Reach what runs on the node of a job."""

    @asynccontextmanager
    async def shell(self, job_id: str, query: ShellQuery | None = None) -> AsyncIterator[Shell]:
        """A shell or another program on the job's node, as the job's login; an async context.

        Parameters
        ----------
        query : ShellQuery, optional
            The program and its terminal; None: the login's shell on a terminal.
        """
        asked = query or ShellQuery()
        path = job_path(job_id, "shell")
        async with self._transport.websocket(path, arguments(asked)) as socket:
            yield Shell(self._transport, socket, terminal=asked.terminal)

    async def run_on_node(
        self, job_id: str, command: Sequence[str], *, stdin: bytes = b""
    ) -> tuple[Exit, bytes, bytes]:
        """Run a program on the job's node: how it ended, its standard output and error."""
        written = {1: bytearray(), 2: bytearray()}
        async with self.shell(job_id, ShellQuery(command=tuple(command), tty=False)) as shell:
            if stdin:
                await shell.write(stdin)
            await shell.write_eof()
            async for stream, data in shell.read():
                written[stream] += data
            return shell.exit or Exit(None), bytes(written[1]), bytes(written[2])

    @asynccontextmanager
    async def port(self, job_id: str, port: int) -> AsyncIterator[Port]:
        """One connection to a TCP port of the job; an async context."""
        async with self._transport.websocket(job_path(job_id, "ports", str(port))) as socket:
            yield Port(self._transport, socket)

    @asynccontextmanager
    async def forward(
        self, job_id: str, port: int, *, local_port: int = 0, host: str = "127.0.0.1"
    ) -> AsyncIterator[Forward]:
        """Listen here and carry each connection to a TCP port of the job; an async context.

        Parameters
        ----------
        local_port : int
            Where to listen; 0: a free port, which :attr:`Forward.port` tells.
        host : str
            Address to listen at. Whoever reaches it reaches the job.
        """
        forward = Forward(self, job_id, port)
        server = await asyncio.start_server(forward.carry, host, local_port)
        forward.host, forward.port = server.sockets[0].getsockname()[:2]
        try:
            yield forward
        finally:
            server.close()
            await forward.close()


class Forward:
    """A port here that leads to one of a job.

    Attributes
    ----------
    host, port
        Where it listens.
    failure
        Why the last connection that failed did so.
    """

    host = ""
    port = 0

    def __init__(self, calls: ConnectionCalls, job_id: str, job_port: int) -> None:
        self.failure: Exception | None = None
        self.failed = asyncio.Event()
        self._calls = calls
        self._job_id = job_id
        self._job_port = job_port
        self._tasks: set[asyncio.Task[None]] = set()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, until either side ends it."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (typing)
        self._tasks.add(task)
        try:
            async with self._calls.port(self._job_id, self._job_port) as port:
                await _both_ways(reader, writer, port)
        except (CoreError, CoreUnavailable) as error:
            self.failure = error
            self.failed.set()
        except OSError:
            return  # the program here has left
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _both_ways(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: Port
) -> None:
    async def up() -> None:
        while data := await reader.read(_PIECE):
            await port.write(data)
        await port.write_eof()

    sending = asyncio.create_task(up())
    try:
        async for data in port.read():
            if data:
                writer.write(data)
                await writer.drain()
            elif writer.can_write_eof():
                writer.write_eof()
    finally:
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
