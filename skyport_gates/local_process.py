"""The local SSH server as seen by its gate: found, started, watched and stopped."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from .descriptors import restore_limit
from .gate import GateUnavailable
from .local_files import control_address, process_start
from .local_server import EXIT_TAKEN, Hello, Settings
from .timing import in_time

START_TIMEOUT = 20.0
"""Seconds a server may take until it can be reached."""

ANSWER_TIMEOUT = 5.0
"""Seconds a server may take to answer on its control socket."""

STOP_TIMEOUT = 5.0
"""Seconds a server may take to end before it is killed."""

ENVIRONMENT = ("LANG", "LC_*", "PATH", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
"""The names (patterns) of the environment that reach the server and the jobs by default."""


def clean_environment(environment: Mapping[str, str], keep: Iterable[str]) -> dict[str, str]:
    """The part of ``environment`` whose names match one of the patterns in ``keep``."""
    patterns = tuple(keep)
    return {
        name: value
        for name, value in environment.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    }


class Attachment:
    """An open control connection to a running server; it ends when the server ends."""

    def __init__(
        self, hello: Hello, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.hello = hello
        self._reader = reader
        self._writer = writer

    async def lost(self, interval: float) -> str:
        """Return once the server has ended or hangs, with what happened.

        The server is asked for an answer each ``interval`` seconds; its end is seen at once.
        """
        while True:
            try:
                line = await in_time(self._reader.readline(), interval)
            except asyncio.TimeoutError:
                if not await self._answers():
                    return f"does not answer within {ANSWER_TIMEOUT:g} s"
                continue
            except ConnectionError:
                line = b""
            if not line:
                return "has ended"

    async def _answers(self) -> bool:
        try:
            self._writer.write(b"ping\n")
            return bool(await in_time(self._reader.readline(), ANSWER_TIMEOUT))
        except ConnectionError:
            return True  # it ended: the next read sees that
        except asyncio.TimeoutError:
            return False

    async def stop(self) -> bool:
        """Ask the server to end and wait until it has closed the connection.

        False if it stays, because another core is attached to it too.
        """
        with contextlib.suppress(ConnectionError):
            self._writer.write(b"stop\n")
            while line := await self._reader.readline():
                if line == b"busy\n":
                    return False
        return True

    async def close(self) -> None:
        """Let go of the server."""
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class LocalProcess:
    """The one server of a folder.

    Parameters
    ----------
    settings : Settings
        What the server must run with; one that runs with others is replaced.
    keep : iterable of str
        Patterns of the environment variables that the server and its jobs get.
    """

    def __init__(self, settings: Settings, keep: Iterable[str] = ENVIRONMENT) -> None:
        self.settings = settings
        self._keep = tuple(keep)

    async def attach(self) -> Attachment:
        """Connect to the running server, starting one if there is none.

        Safe when several callers, also in several processes, do so at once: the server's lock
        lets one server win, and all attach to that.

        Raises
        ------
        GateUnavailable
            The server could not be started or does not answer.
        """
        try:
            return await self._attach()
        except OSError as error:
            raise self._failure("cannot be used", str(error)) from error

    async def _attach(self) -> Attachment:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            attachment = await self._running(deadline)
            if attachment is None:
                await self._start()
            elif attachment.hello.digest == self.settings.digest():
                return attachment
            elif not await self._stop(attachment):
                raise self._failure("cannot be used", "another core uses it, with other settings")
        raise self._failure("cannot be used", "it ends again and again")

    async def stop(self) -> None:
        """End the server, if one runs or is being started, and return once it is gone.

        A server that another core is attached to is left alone.

        Raises
        ------
        GateUnavailable
            The server could not be stopped.
        """
        attachment = await self._running(time.monotonic() + START_TIMEOUT)
        if attachment is not None:
            await self._stop(attachment)

    async def kill_hung(self) -> None:
        """Kill the server, which does not answer; only ever the process that holds the lock."""
        process = self._recorded()
        if process is None or not self._locked():
            return
        pid, start = process
        if process_start(pid) == start:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await self._gone(pid, start)

    async def _running(self, deadline: float) -> Attachment | None:
        """The server that runs, starts or is about to end; None once there is none."""
        async for _ in _ticks(deadline):
            attachment = await self._connect()
            if attachment is not None or not self._locked():
                return attachment
        raise self._failure("cannot be used", "it does not answer")

    async def _connect(self) -> Attachment | None:
        """A connection to the server, or None if none runs (a hung one is killed)."""
        try:
            with control_address(self.settings.home) as address:
                reader, writer = await asyncio.open_unix_connection(address)
        except (FileNotFoundError, ConnectionError):
            return None
        line = b""
        try:
            line = await in_time(reader.readline(), ANSWER_TIMEOUT)
        except ConnectionError:
            pass  # it ended while we connected
        except asyncio.TimeoutError:
            await self.kill_hung()
        finally:
            if not line:
                writer.close()
        return Attachment(Hello(**json.loads(line)), reader, writer) if line else None

    async def _stop(self, attachment: Attachment) -> bool:
        pid = attachment.hello.pid
        start = process_start(pid)
        try:
            if not await in_time(attachment.stop(), STOP_TIMEOUT):
                return False
        except asyncio.TimeoutError:
            await self.kill_hung()
        finally:
            await attachment.close()
        if start is not None:
            await self._gone(pid, start)
        return True

    async def _start(self) -> None:
        """Start a server; return once it can be reached or another one holds the folder."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "skyport_gates.local_server",
            *self.settings.arguments(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            cwd=Path(__file__).parent.parent,
            env=clean_environment(os.environ, self._keep),
            start_new_session=True,
        )
        restore_limit(process.pid)
        try:
            _, output = await in_time(process.communicate(), START_TIMEOUT)
        except BaseException as error:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()
            if not isinstance(error, asyncio.TimeoutError):
                raise
            raise self._failure(
                "could not be started", f"it took more than {START_TIMEOUT:g} s"
            ) from None
        status = process.returncode or 0
        if status not in (0, EXIT_TAKEN):
            lines = output.decode(errors="replace").strip().splitlines()
            raise self._failure(
                "could not be started", lines[-1] if lines else f"it ended with status {status}"
            )

    async def _gone(self, pid: int, start: str) -> None:
        async for _ in _ticks(time.monotonic() + STOP_TIMEOUT):
            if process_start(pid) != start:
                return
        raise self._failure("could not be stopped", f"process {pid} does not end")

    def _recorded(self) -> tuple[int, str] | None:
        try:
            pid, start = (self.settings.home / "pid").read_text().split()
            return int(pid), start
        except (FileNotFoundError, ValueError):
            return None

    def _locked(self) -> bool:
        try:
            lock = os.open(self.settings.home / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(lock)
        return False

    def _failure(self, what: str, cause: str) -> GateUnavailable:
        return GateUnavailable(
            f"The SSH server of this machine {what}: {cause}",
            hint=f"Look at {self.settings.home / 'server.log'}.",
        )


async def _ticks(deadline: float, step: float = 0.02) -> AsyncIterator[None]:
    """Yield now and then until the deadline (of ``time.monotonic``)."""
    while time.monotonic() < deadline:
        yield
        await asyncio.sleep(step)
