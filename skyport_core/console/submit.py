"""The command that submits batch jobs."""

from __future__ import annotations

import uuid
from contextlib import aclosing
from typing import Any

import click

from ..client import CoreClient
from ..model import JobState
from ..wire import JobRequest, JobView
from .command import EXIT_FAILED, core_command, main
from .finding import complete_files
from .inputs import local_files, upload_all
from .output import clock, line, print_json
from .wishes import (
    OPTIONS,
    SECRET_OPTIONS,
    Program,
    ProgramCommand,
    checked,
    program,
    refusals,
    wished,
    with_options,
)


def _uuid(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """A UUID as a core takes it."""
    try:
        fits = value is None or str(uuid.UUID(value)) == value
    except ValueError:
        fits = False
    if not fits:
        raise click.BadParameter(f"{value!r} must be a UUID, in lower case with hyphens")
    return value


id_option = click.option(
    "--id", "job_id", callback=_uuid, help="The job's id, a UUID. [default: a new one]"
)
words_argument = click.argument(
    "command",
    nargs=-1,
    required=True,
    type=click.UNPROCESSED,
    metavar="SCRIPT|-- COMMAND...",
    shell_complete=complete_files,
)


@main.command(cls=ProgramCommand, context_settings={"ignore_unknown_options": True})
@words_argument
@id_option
@with_options(*OPTIONS, *SECRET_OPTIONS)
@click.option("--follow", "-f", is_flag=True, help="Show what happens until the job has ended.")
@core_command
async def submit(
    client: CoreClient, as_json: bool, job_id: str | None, follow: bool, **options: Any
) -> None:
    """Submit a batch job and print its id.

    SCRIPT is a file of this machine that begins with #!; its #SWM and #SBATCH lines are obeyed
    where the options say nothing else. Files that it names as input are uploaded. After -- stands
    a program of the node.

    \b
    skyport submit job.sh data.csv
    skyport submit --cpus 4 --walltime 1h --array 0-9%2 job.sh
    skyport submit --site azure --spot only --max-price 0.10 -- ./render --all
    """
    view = await send(client, job_id, **options)
    if follow:
        async with aclosing(client.events(view.id)) as stream:
            async for event in stream:
                told = f"{clock(event.time)} {event.state.value:<10} {event.message}"
                click.echo(line(told), err=True)
        view = await client.get_job(view.id) or view
    if as_json:
        print_json(view)
    else:
        click.echo(line(view.id))
    if follow and view.state is not JobState.FINISHED:
        raise click.exceptions.Exit(EXIT_FAILED)


async def send(
    client: CoreClient,
    job_id: str | None,
    *,
    command: tuple[str, ...],
    literal: bool,
    inputs: tuple[str, ...],
    single: bool = False,
    **options: Any,
) -> JobView:
    """Submit what the options describe, and upload what it needs; ``single``: no array."""
    what = program(command, literal=literal)
    arrays = (options["array"], what.directives and what.directives.fields.get("array"))
    if single and any(arrays):
        raise click.UsageError("run follows one job; use submit for an array.")
    named = _named(what)
    files = local_files((*named, *inputs), named)
    fields = {**what.fields, **await wished(client, options)}
    if files:
        fields["inputs"] = tuple(files)
    with refusals(what, fields):
        view = await client.submit(checked(JobRequest, fields), job_id=job_id)
    await upload_all(client, view.id, files)
    return view


def _named(what: Program) -> dict[str, str]:
    """The files that a script names, and where it does."""
    found = what.directives
    if found is None:
        return {}
    origins = [found.origins[f"inputs.{number}"] for number in range(len(found.inputs))]
    places = [f"{what.path}: line {origin.line}: {origin.name}: " for origin in origins]
    return dict(zip(found.inputs, places, strict=True))
