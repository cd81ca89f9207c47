"""One server process under test: started, awaited, stopped, killed, started again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from tests.infra.attachments import attached, tail
from tests.infra.nodes import CHECKOUT


class ServerProcess:
    """A process with a log, in its own session; ``prefix`` puts it into a namespace.

    Parameters
    ----------
    name
        Title of its log.
    argv, prefix, env
        Command, words before it, and variables added to this process's own.
    folder
        Working directory; the log stands there.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        folder: Path,
        *,
        prefix: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.argv = [*prefix, *argv]
        self.folder = folder
        self.env = dict(env or {})
        self.log = folder / f"{name}.log"
        self.popen: subprocess.Popen[bytes] | None = None
        self._attachment = contextlib.ExitStack()

    @property
    def running(self) -> bool:
        return self.popen is not None and self.popen.poll() is None

    @property
    def pid(self) -> int:
        assert self.popen is not None, f"{self.name} was not started"
        return self.popen.pid

    def spawn(self) -> None:
        """Start it and return at once."""
        assert not self.running, f"{self.name} runs already"
        self._attachment.close()
        self._attachment.enter_context(attached(f"log of {self.name}", self.log))
        paths = [str(CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                self.argv,
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def wait_ready(self, ready: Callable[[], Awaitable[bool]], timeout: float) -> None:
        """Wait until ``ready`` holds; RuntimeError with the log if the process ends first."""
        end = time.monotonic() + timeout
        while not await ready():
            if not self.running:
                raise RuntimeError(f"{self.name} ended with {self.exit_code}:\n{tail(self.log)}")
            if time.monotonic() > end:
                raise TimeoutError(f"{self.name} not ready in {timeout:g} s:\n{tail(self.log)}")
            await asyncio.sleep(0.02)

    @property
    def exit_code(self) -> int | None:
        """Exit status; negative for a signal; None while it runs."""
        return self.popen.poll() if self.popen else None

    async def wait_end(self, timeout: float = 20.0) -> int:
        """Wait until it ended by itself and return its exit status."""
        assert self.popen is not None
        return await asyncio.to_thread(self.popen.wait, timeout)

    async def end(self, sig: int = signal.SIGTERM, timeout: float = 20.0) -> None:
        """Send a signal and wait; TimeoutError (and SIGKILL) when it does not end in time."""
        if self.popen is None:
            return
        if self.running:
            self.popen.send_signal(sig)
        try:
            await self.wait_end(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            text = f"{self.name} did not end within {timeout:g} s of signal {sig}"
            raise TimeoutError(f"{text}:\n{tail(self.log)}") from None

    def detach(self) -> None:
        """Show its log no longer."""
        self._attachment.close()
