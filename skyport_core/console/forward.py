"""The command that carries a port of a job to this machine."""

from __future__ import annotations

import json

import click

from ..client import CoreClient, CoreError
from ..model import JobState
from .command import core_command, main
from .finding import find, job_argument
from .values import Count

ON_NODE = (JobState.STARTING, JobState.RUNNING)
"""States in which a job's ports can be reached."""

_PORT = Count(1, 65535)


@main.command()
@job_argument
@click.argument("port", type=_PORT)
@click.argument("local", type=Count(0, 65535), required=False)
@core_command
async def forward(
    client: CoreClient, as_json: bool, job: str, port: int, local: int | None
) -> None:
    """Make a port of a job reachable at 127.0.0.1:LOCAL, until Ctrl-C or the job's end.

    LOCAL is the same number unless given; 0 is a free one.
    """
    view = await find(client, job)
    if view.state.final:
        message = f"Job {view.id} is {view.state.value}: it has no ports any more."
        raise CoreError(409, "not_running", message)
    wanted = port if local is None else local
    try:
        context = client.forward(view.id, port, local_port=wanted)
        async with context as forwarded:
            if as_json:
                where = {"host": forwarded.host, "port": forwarded.port, "job": view.id}
                click.echo(json.dumps(where))
            else:
                click.echo(f"127.0.0.1:{forwarded.port} leads to port {port} of job {view.id}")
            if view.state not in ON_NODE:
                click.echo(f"The job is {view.state.value}: nothing answers yet.", err=True)
            ended = await client.ended(view.id)
    except OSError as error:
        message = f"Cannot listen at 127.0.0.1:{wanted}: {error.strerror}. Give another LOCAL."
        raise CoreError(409, "port_in_use", message) from error
    click.echo(f"Job {view.id} is {ended.state.value}.", err=True)
