"""The command that submits batch jobs."""

from __future__ import annotations

import os
import uuid
from contextlib import aclosing

import click
from pydantic import ValidationError

from ..client import CoreClient
from ..model import Eviction, JobKind, JobState
from ..wire import JobRequest
from .command import core_command, main
from .output import clock, plain, print_json

SPOT = {"never": False, "only": True, "cheaper": None}
"""What ``--spot`` takes: ``cheaper`` is either, whichever costs less."""

EXIT_FAILED = 4
"""Exit status when a job that was followed did not finish well."""


def _pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """``NAME=VALUE`` several times."""
    pairs = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        pairs[name] = value
    return pairs


def _environment(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str]:
    """``NAME=VALUE``, or only ``NAME`` for a value that shall not stand on a command line."""
    given = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals and name not in os.environ:
            raise click.BadParameter(f"{name} is not set here; give {name}=VALUE")
        given[name] = value if equals else os.environ[name]
    return given


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("--id", "job_id", help="The job's id, a UUID. [default: a new one]")
@click.option("--name", default="", help="A name for people.")
@click.option("--owner", help="Whose job it is. [default: yours]")
@click.option("--site", help="Run at this site only.")
@click.option("--flavor", help="Run on this node type only.")
@click.option("--region", help="Run in this region only.")
@click.option("--zone", help="Run in this zone only.")
@click.option(
    "--spot",
    type=click.Choice(list(SPOT)),
    default="never",
    show_default=True,
    help="Use nodes that their site may take back: never, only these, or what is cheaper.",
)
@click.option("--max-price", type=float, help="The most that a node may cost per hour.")
@click.option("--image", help="Image that a node made for the job boots.")
@click.option(
    "--on-eviction",
    type=click.Choice([each.value for each in Eviction]),
    default=Eviction.REQUEUE.value,
    show_default=True,
    help="When a spot node is taken back: fail, start over, or start over with what was saved.",
)
@click.option("--keep", metavar="NAME", help="Keep the node asleep under this name afterwards.")
@click.option("--label", "labels", multiple=True, callback=_pairs, help="NAME=VALUE, on the node.")
@click.option("--cpus", type=float, help="Cores.")
@click.option("--memory", type=int, help="MiB.")
@click.option("--gpus", type=int, default=0, help="GPU devices.")
@click.option("--walltime", type=int, help="Seconds that the job may run.")
@click.option("--workdir", default="", help="Working directory on the node.")
@click.option("--output", "outputs", multiple=True, help="File to bring home; may be repeated.")
@click.option(
    "--env",
    "environment",
    multiple=True,
    callback=_environment,
    help="NAME=VALUE, or NAME to pass on what is set here; may be repeated.",
)
@click.option("--follow", "-f", is_flag=True, help="Show what happens until the job has ended.")
@core_command
async def submit(
    client: CoreClient,
    as_json: bool,
    job_id: str | None,
    spot: str,
    follow: bool,
    **fields: object,
) -> None:
    """Submit a batch job and print its id.

    \b
    skyport submit --cpus 4 --walltime 3600 -- python3 train.py
    skyport submit --site azure --spot only --max-price 0.10 -- ./render
    """
    try:
        request = JobRequest.model_validate({"kind": JobKind.BATCH, "spot": SPOT[spot], **fields})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise click.UsageError(f"{place}: {first['msg']}") from None
    view = await client.put_job(job_id or str(uuid.uuid4()), request)
    if follow:
        async with aclosing(client.events(view.id)) as stream:
            async for event in stream:
                line = plain(f"{clock(event.time)} {event.state.value:<10} {event.message}")
                click.echo(line, err=True)
        view = await client.get_job(view.id) or view
    if as_json:
        print_json(view)
    else:
        click.echo(view.id)
    if follow and view.state is not JobState.FINISHED:
        raise click.exceptions.Exit(EXIT_FAILED)
