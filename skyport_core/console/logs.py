"""Commands that tell what happens to a job: its log and its events."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import click

from ..client import CoreClient, LogChunk
from .command import core_command, main
from .finding import find, job_argument
from .output import JsonParts, Screen
from .views import event_line


@main.command()
@job_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@core_command
async def events(client: CoreClient, as_json: bool, job: str, follow: bool) -> None:
    """Show what happened to a job; with --json one object a line."""
    view = await find(client, job)
    async with aclosing(client.events(view.id, follow=follow)) as stream:
        async for event in stream:
            if as_json:
                click.echo(json.dumps(event.model_dump(mode="json")))
            else:
                click.echo(event_line(event))


@main.command()
@job_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--stderr", is_flag=True, help="Its standard error, where that is kept apart.")
@click.option("--boot", is_flag=True, help="What a machine that did not come up for it printed.")
@click.option("--raw", is_flag=True, help="Colours and all else that steers the terminal too.")
@core_command
async def logs(
    client: CoreClient, as_json: bool, job: str, follow: bool, stderr: bool, boot: bool, raw: bool
) -> None:
    """Print what a job wrote; with --json one object a part.

    On a terminal, characters that could steer it are shown as �; into a file or a pipe goes
    every byte as it is.
    """
    if stderr and boot:
        raise click.UsageError("Choose one of --stderr and --boot.")
    view = await find(client, job)
    stream = "boot" if boot else "stderr" if stderr else "stdout"
    chunks = client.follow_log(view.id, stream) if follow else _whole(client, view.id, stream)
    screen, texts, end = Screen(raw=raw), JsonParts(), 0
    async with aclosing(chunks) as parts:
        async for chunk in parts:
            end = chunk.next_offset
            if as_json:
                texts.show(chunk.data, end - len(chunk.data))
            else:
                screen.show(chunk.data)
    if as_json:
        texts.show(b"", end, last=True)
    else:
        screen.show(b"", last=True)


async def _whole(client: CoreClient, job_id: str, stream: str) -> AsyncGenerator[LogChunk, None]:
    """What there is now."""
    offset = 0
    while True:
        chunk = await client.log(job_id, stream, offset=offset)
        if not chunk.data:
            return
        yield chunk
        offset = chunk.next_offset
