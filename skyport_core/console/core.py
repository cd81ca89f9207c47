"""Commands about the core itself."""

from __future__ import annotations

import json

import click

from .. import __version__
from ..client import CoreClient
from .command import core_command, main
from .output import plain, print_fields, print_json, print_table, span


@main.command()
@core_command
async def health(client: CoreClient, as_json: bool) -> None:
    """Show whether the core lives, its version and its load."""
    view = await client.health()
    if as_json:
        return print_json(view)
    jobs = ", ".join(f"{count} {state}" for state, count in view.jobs.items() if count)
    return print_fields(
        [
            ("Status", view.status),
            ("Version", view.version),
            ("Core", view.core_id),
            ("Socket" if client.socket_path else "Address", client.endpoint),
            ("Up", span(view.uptime)),
            ("Jobs", jobs or "none"),
        ]
    )


@main.command()
@core_command
async def version(client: CoreClient, as_json: bool) -> None:
    """Show the versions of console and core."""
    view = await client.version()
    if as_json:
        click.echo(json.dumps({"console": __version__, "core": view.version, "api": view.api}))
        return
    fields = [("Console", __version__), ("Core", view.version), ("API", ", ".join(view.api))]
    print_fields(fields)


@main.command()
@core_command
async def tunnels(client: CoreClient, as_json: bool) -> None:
    """List the ports that are carried between jobs and the core."""
    views = await client.tunnels()
    if as_json:
        return print_json(views)
    rows = [
        (
            view.job[:8],
            view.owner,
            view.direction,
            view.name,
            f"{view.listen.host}:{view.listen.port}",
            f"{view.target.host}:{view.target.port}",
            f"{view.site}/{view.node}",
            view.connections,
            plain("up" if view.up else "down"),
        )
        for view in views
    ]
    columns = ("JOB", "OWNER", "WAY", "NAME", "LISTENS", "LEADS TO", "NODE", "OPEN>", "STATE")
    return print_table(columns, rows, "No tunnels now.")
