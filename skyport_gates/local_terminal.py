"""A terminal for a command of the local SSH server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from contextlib import suppress

READ_SIZE = 65536

ATTACH = 'exec 0<>"$1" 1>&0 2>&0 || exit 71; shift; exec "$@"'
"""Opens the terminal by its name: so it becomes the controlling one of a new session."""


class PseudoTerminal:
    """Both sides of a pseudo-terminal; the command has one, the SSH channel the other."""

    def __init__(self, columns: int, rows: int) -> None:
        self._master, self._slave = os.openpty()
        os.set_blocking(self._master, False)
        self.resize(columns, rows)

    def attached(self, *command: str) -> list[str]:
        """The arguments that run ``command`` in this terminal, if they lead a new session."""
        return ["/bin/sh", "-c", ATTACH, "sh", os.ttyname(self._slave), *command]

    def resize(self, columns: int, rows: int) -> None:
        """Give it another size, of which the command hears."""
        if self._master >= 0:
            size = struct.pack("HHHH", min(rows, 65535), min(columns, 65535), 0, 0)
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, size)

    def started(self) -> None:
        """The command has its side open."""
        if self._slave >= 0:
            os.close(self._slave)
            self._slave = -1

    async def read(self) -> bytes:
        """What the command shows; waits for it. Empty when nobody has its side any more."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                return self.read_now()
            except BlockingIOError:
                await _ready(loop.add_reader, loop.remove_reader, self._master)

    def read_now(self) -> bytes:
        """What it has shown already. Raises BlockingIOError if that is nothing."""
        try:
            return os.read(self._master, READ_SIZE) if self._master >= 0 else b""
        except BlockingIOError:
            raise
        except OSError:  # EIO is how Linux tells that the other side is closed
            return b""

    async def write(self, data: bytes) -> None:
        """Type ``data``; waits until it was taken."""
        loop = asyncio.get_running_loop()
        view = memoryview(data)
        while view and self._master >= 0:
            try:
                view = view[os.write(self._master, view) :]
            except BlockingIOError:
                await _ready(loop.add_writer, loop.remove_writer, self._master)
            except OSError:
                return

    def close(self) -> None:
        """Hang up: what runs in the terminal gets SIGHUP."""
        self.started()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


async def _ready(add: Callable[..., None], remove: Callable[[int], bool], descriptor: int) -> None:
    """Wait until a descriptor can be read or written."""
    ready = asyncio.get_running_loop().create_future()
    add(descriptor, _set, ready)
    try:
        await ready
    finally:
        with suppress(ValueError, OSError):
            remove(descriptor)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
