"""The command that opens a terminal on a job's node."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import termios
import threading
import tty
from collections.abc import Callable, Iterator

import click

from ..client import CoreClient, CoreError, CoreUnavailable, Exit, Shell, Untrusted
from ..wire import ShellQuery
from .command import EXIT_UNREACHABLE, core_command, main
from .finding import find, job_argument
from .output import JsonParts, plain

PIECE = 2**16
_STDIN, _STDOUT, _STDERR = 0, 1, 2
_NO_STATUS = 255
"""Exit status when a program's own is not known, as of OpenSSH."""


@main.command(context_settings={"ignore_unknown_options": True})
@job_argument
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND...]")
@click.option("--tty", "-t", "terminal", is_flag=True, help="Give a command a terminal too.")
@core_command
async def ssh(
    client: CoreClient, as_json: bool, job: str, command: tuple[str, ...], terminal: bool
) -> None:
    """Open a shell on a job's node through the core, or run a command there.

    The exit status is that of the shell or command. No SSH, key or open port is needed here. With
    --json, what is written there comes as one object a part, and last how it ended.

    \b
    skyport ssh 6d1f
    skyport ssh 6d1f -- tail -n 100 train.log
    tar c data | skyport ssh 6d1f -- tar x
    """
    view = await find(client, job)
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty() and not as_json
    wanted = on_terminal and (terminal or not command)
    columns, rows = shutil.get_terminal_size()
    # A shell with no terminal on this side reads its commands from the pipe.
    program = command or (() if wanted else ("sh", "-l"))
    query = ShellQuery(
        command=program, tty=wanted, cols=columns, rows=rows, term=os.environ.get("TERM") or "dumb"
    )
    texts = _Texts()
    async with client.shell(view.id, query) as shell:
        try:
            with _raw() if wanted else contextlib.nullcontext():
                await _carry(shell, wanted, texts.write if as_json else _write)
        except CoreUnavailable as error:
            await _look_why(client, view.id)
            click.echo(f"Error: {plain(str(error))}", err=True)
            raise click.exceptions.Exit(_NO_STATUS) from None
    if as_json:
        texts.end()
        ended = shell.exit
        told = {"exit": ended and ended.status, "signal": ended and ended.signal}
        click.echo(json.dumps(told))
    raise click.exceptions.Exit(_status(shell.exit))


async def _look_why(client: CoreClient, job_id: str) -> None:
    """Ask the core anew, which a broken connection cannot tell: it may not let this caller in."""
    try:
        await client.get_job(job_id)
    except Untrusted:
        raise
    except CoreUnavailable:
        return  # as it was told already


async def _carry(shell: Shell, terminal: bool, write: Callable[[int, bytes], None]) -> None:
    loop = asyncio.get_running_loop()
    tasks = {asyncio.create_task(_keys(shell))}

    def resized() -> None:
        columns, rows = shutil.get_terminal_size()
        task = asyncio.create_task(shell.resize(columns, rows))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    if terminal:
        loop.add_signal_handler(signal.SIGWINCH, resized)
    try:
        async for stream, data in shell.read():
            await asyncio.to_thread(write, _STDERR if stream == 2 else _STDOUT, data)
    finally:
        if terminal:
            loop.remove_signal_handler(signal.SIGWINCH)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _keys(shell: Shell) -> None:
    """Pass on what is typed, or comes through the pipe; ended with its end."""
    keys: asyncio.Queue[bytes] = asyncio.Queue(maxsize=4)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError, RuntimeError):
            while True:
                data = os.read(_STDIN, PIECE)
                asyncio.run_coroutine_threadsafe(keys.put(data), loop).result()
                if not data:
                    return

    # A thread, since standard input may be a file, which no event loop can wait for; a daemon,
    # since nothing can wake it from its last read.
    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(CoreError, CoreUnavailable):  # the reader tells of it
        while data := await keys.get():
            await shell.write(data)
        await shell.write_eof()


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Each key goes to the program at once, Ctrl-C too."""
    before = termios.tcgetattr(_STDIN)
    # Not TCSAFLUSH, the default, which would drop what was typed meanwhile.
    tty.setraw(_STDIN, termios.TCSADRAIN)
    try:
        yield
    finally:
        termios.tcsetattr(_STDIN, termios.TCSADRAIN, before)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class _Texts:
    """Both streams as JSON."""

    def __init__(self) -> None:
        self._parts = {
            _STDOUT: JsonParts(stream="stdout"),
            _STDERR: JsonParts(stream="stderr"),
        }

    def write(self, descriptor: int, data: bytes) -> None:
        self._parts[descriptor].show(data)

    def end(self) -> None:
        for each in self._parts.values():
            each.show(b"", last=True)


def _status(ended: Exit | None) -> int:
    if ended is None:
        return EXIT_UNREACHABLE
    if ended.status is not None:
        return ended.status
    name = f"SIG{ended.signal}" if ended.signal else ""
    known = signal.Signals.__members__.get(name)
    return 128 + known if known else _NO_STATUS
