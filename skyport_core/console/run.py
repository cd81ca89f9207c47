"""The command that runs a job as if it ran here."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Any

import click

from ..client import CoreClient
from ..model import JobState
from ..wire import JobView
from .command import EXIT_FAILED, core_command, main
from .files import chosen, fetch
from .output import JsonParts, length, line, plain
from .submit import id_option, send, words_argument
from .views import elsewhere
from .wishes import OPTIONS, SECRET_OPTIONS, ProgramCommand, with_options

SIGNALLED = 128
"""Added to the number of the signal that ended a job, as shells do."""


@main.command(cls=ProgramCommand, context_settings={"ignore_unknown_options": True})
@words_argument
@id_option
@with_options(*OPTIONS, *SECRET_OPTIONS)
@click.option("--detach", is_flag=True, help="Ctrl-C leaves the job running.")
@click.option(
    "--get",
    "home",
    metavar="FOLDER",
    type=click.Path(file_okay=False, path_type=Path),
    help="Bring its outputs to this folder of this machine; files that are there are replaced.",
)
@click.option("--quiet", "-q", is_flag=True, help="Do not tell what the job waits for.")
@core_command
async def run(
    client: CoreClient,
    as_json: bool,
    job_id: str | None,
    detach: bool,
    home: Path | None,
    quiet: bool,
    **options: Any,
) -> None:
    """Run a job as if it ran here: its output comes live, its exit status is returned.

    Takes what submit takes. Ctrl-C cancels the job. Without an exit status of its own, a job that
    did not finish well gives 4. With --json every line is an object.

    \b
    skyport run --cpus 4 --input data.csv --output result.csv --get . job.sh data.csv
    skyport run --gpus 1 -- nvidia-smi
    """
    view = await send(client, job_id, single=True, **options)
    try:
        view = await _follow(client, view, as_json=as_json, quiet=quiet or not sys.stderr.isatty())
    except asyncio.CancelledError:
        await _interrupted(client, view, detach)
        raise
    if home is not None:
        listed = await client.files(view.id)
        await fetch(client, view.id, chosen(listed, ()), home, force=True)
    if as_json:
        click.echo(json.dumps({"job": view.model_dump(mode="json")}))
    elif view.state is not JobState.FINISHED or (sys.stderr.isatty() and not quiet):
        click.echo(f"skyport: {plain(_verdict(view))}", err=True)
    raise click.exceptions.Exit(exit_status(view))


def exit_status(view: JobView) -> int:
    """What a shell is told of a job that has ended."""
    if view.exit_code:
        return view.exit_code if view.exit_code > 0 else SIGNALLED - view.exit_code
    return 0 if view.state is JobState.FINISHED else EXIT_FAILED


async def _follow(client: CoreClient, view: JobView, *, as_json: bool, quiet: bool) -> JobView:
    """Show what the job writes until it has ended; how it is then."""
    streams = [(1, "stdout")] if view.kind.value == "server" else [(1, "stdout"), (2, "stderr")]
    tasks = [
        asyncio.create_task(_copy(client, view.id, name, number, as_json))
        for number, name in streams
    ]
    tasks.append(asyncio.create_task(_tell(client, view.id, quiet)))
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return await client.get_job(view.id, wait=60) or view


async def _copy(client: CoreClient, job_id: str, name: str, number: int, as_json: bool) -> None:
    texts, end = JsonParts(stream=name), 0
    async with aclosing(client.follow_log(job_id, name)) as chunks:
        async for chunk in chunks:
            end = chunk.next_offset
            if as_json:
                texts.show(chunk.data, end - len(chunk.data))
            else:
                # As if it ran here: who runs a program lets it steer the terminal.
                click.echo(chunk.data, nl=False, err=number == 2)
    if as_json:
        texts.show(b"", end, last=True)


async def _tell(client: CoreClient, job_id: str, quiet: bool) -> None:
    """Why there is no output yet, for people."""
    if quiet:
        return
    async with aclosing(client.events(job_id)) as events:
        async for event in events:
            if event.state is JobState.RUNNING:
                return
            said = elsewhere(event.hint)
            hint = f" ({said})" if said else ""
            click.echo(line(f"{event.state.value:<10} {event.message}{hint}"), err=True)


async def _interrupted(client: CoreClient, view: JobView, detach: bool) -> None:
    if detach:
        click.echo(f"\nJob {view.id} goes on: skyport logs -f {view.id}", err=True)
        return
    click.echo(f"\nJob {view.id} is being cancelled", err=True)
    await client.delete_job(view.id, wait=10)


def _verdict(view: JobView) -> str:
    said = f"job {view.id} is {view.state.value}"
    if view.started_at and view.ended_at:
        said += f" after {length(round((view.ended_at - view.started_at).total_seconds()))}"
    failure, status = view.failure, f"exit status {view.exit_code}"
    if view.exit_code is not None and (failure is None or status not in failure.message):
        said += f", {status}"
    if failure is None:
        return said
    hint = elsewhere(failure.hint)
    return f"{said}: {failure.message}{f' ({hint})' if hint else ''}"
