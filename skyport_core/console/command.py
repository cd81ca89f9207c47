"""The command ``skyport`` and what its subcommands share."""

from __future__ import annotations

import asyncio
import functools
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click

from .. import __version__
from ..client import CoreClient, CoreError, CoreUnavailable, default_socket
from .output import plain

EXIT_REFUSED = 1
EXIT_UNREACHABLE = 3
EXIT_INTERRUPTED = 130

EPILOG = """
\b
Exit status: 0 done, 1 refused by the core, 2 wrong usage, 3 core not reachable,
4 a job that was followed did not finish well.

\b
Completion by the Tab key, for bash (zsh and fish: put their name for bash):
  eval "$(_SKYPORT_COMPLETE=bash_source skyport)"
"""


@click.group(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--socket",
    type=click.Path(path_type=Path),
    envvar="SKYPORT_SOCKET",
    help="The core's socket. [default: $SKYPORT_SOCKET, else core.sock in $SKYPORT_HOME, "
    "which is ~/.local/state/skyport unless set]",
)
@click.version_option(__version__, prog_name="skyport")
@click.pass_context
def main(context: click.Context, socket: Path | None) -> None:
    """Look after Sky Port's jobs, nodes and sites.

    A job is named by its id or by the first characters of it. Every command prints JSON with
    --json.
    """
    context.obj = socket or default_socket()


def core_command(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Make ``async function(client, as_json, **options)`` the body of a click command.

    Adds ``--json``, opens the client, and turns its errors into messages and exit statuses.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @click.pass_obj
    @functools.wraps(function)
    def run(socket: Path, /, **options: Any) -> None:
        async def work() -> None:
            async with CoreClient(socket) as client:
                await function(client, **options)

        try:
            asyncio.run(work())
        except CoreUnavailable as error:
            _fail(str(error), EXIT_UNREACHABLE)
        except CoreError as error:
            _fail(error.message, EXIT_REFUSED)
        except KeyboardInterrupt:
            sys.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            # The reader, such as head, had enough; nothing may be flushed to it at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(EXIT_REFUSED)

    return run


def _fail(message: str, status: int) -> None:
    click.echo(f"Error: {plain(message)}", err=True)
    sys.exit(status)
