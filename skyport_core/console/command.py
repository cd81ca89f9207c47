"""The command ``skyport`` and what its subcommands share."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from .. import __version__
from ..client import CoreClient, CoreError, CoreUnavailable, Endpoint, FileTrouble
from . import contexts
from .contexts import ContextError, choose
from .output import plain
from .wording import complaint

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREACHABLE = 3
EXIT_FAILED = 4
"""A job that was followed did not finish well and has no exit status of its own."""
EXIT_INTERRUPTED = 130

EPILOG = """
\b
Exit status: 0 done, 1 refused by the core, 2 wrong usage, 3 core not reachable,
4 a job that was followed did not finish well, 130 interrupted by Ctrl-C;
run and ssh: that of the job or command.

\b
Completion by the Tab key, for bash (zsh and fish: put their name for bash):
  eval "$(_SKYPORT_COMPLETE=bash_source skyport)"
"""


class Target:
    """Which core is meant; looked up when it is first needed."""

    def __init__(self, socket: Path | None, context: str | None) -> None:
        self._socket = socket
        self._context = context

    def endpoint(self) -> Endpoint:
        """The way to the core. Raises ContextError."""
        return choose(self._socket, self._context)


def complete_contexts(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Names of contexts, for the Tab key."""
    try:
        known = contexts.Contexts.load().contexts
    except ContextError:
        return []
    return [name for name in sorted(known) if name.startswith(incomplete)]


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--context",
    "context_name",
    metavar="NAME",
    shell_complete=complete_contexts,
    help="The core to talk to, as 'skyport context' knows it. [default: $SKYPORT_CONTEXT, else "
    "the current one]",
)
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    help="The core's socket. [default: $SKYPORT_SOCKET, else core.sock in $SKYPORT_HOME, "
    "which is ~/.local/state/skyport unless set]",
)
@click.version_option(__version__, prog_name="skyport")
@click.pass_context
def main(context: click.Context, socket: Path | None, context_name: str | None) -> None:
    """Submit jobs to Sky Port and look after them, its nodes and sites.

    A job is named by its id or by the first characters of it. Commands print JSON with --json.
    """
    if socket is not None and context_name is not None:
        raise click.UsageError("Choose one of --socket and --context.")
    context.obj = Target(socket, context_name)


def core_command(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make ``async function(client, as_json, **options)`` the body of a click command.

    Adds ``--json``, opens the client, and turns its errors into messages and exit statuses.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.pass_obj
    @functools.wraps(function)
    def run(target: Target, /, **options: Any) -> None:
        async def work() -> None:
            async with CoreClient(target.endpoint()) as client:
                await function(client, **options)

        with in_words():
            asyncio.run(work())

    return run


@contextmanager
def in_words() -> Iterator[None]:
    """Errors inside the block as messages and exit statuses."""
    try:
        yield
    except CoreUnavailable as error:
        fail(str(error), EXIT_UNREACHABLE)
    except CoreError as error:
        fail(error.message, EXIT_REFUSED)
    except (FileTrouble, ContextError) as error:
        fail(str(error), EXIT_REFUSED)
    except ValidationError as error:
        fail(complaint(error), EXIT_USAGE)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as head, had enough; nothing may be flushed to it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_REFUSED)


def fail(message: str, status: int) -> None:
    """Say what is wrong and end."""
    click.echo(f"Error: {plain(message)}", err=True)
    sys.exit(status)
