"""Commands about sites and nodes."""

from __future__ import annotations

import click

from ..client import CoreClient
from ..wire import NodeView
from .command import core_command, main
from .finding import complete_nodes
from .output import plain, portion, print_json, print_table


def _split(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, str]:
    """``SITE/NODE`` as a pair; a site's name has no slash."""
    site, slash, node = value.partition("/")
    if not (site and slash and node):
        raise click.BadParameter(f"{value!r} is not of the form SITE/NODE, such as lab/node3")
    return site, node


node_argument = click.argument(
    "node", metavar="SITE/NODE", callback=_split, shell_complete=complete_nodes
)


@main.command()
@core_command
async def sites(client: CoreClient, as_json: bool) -> None:
    """List the sites and whether they answer."""
    views = await client.sites()
    if as_json:
        return print_json(views)
    rows = [
        (view.name, view.gate, _yes(view.available), view.nodes, view.running_jobs, view.reason)
        for view in views
    ]
    columns = ("SITE", "GATE", "AVAILABLE", "NODES>", "JOBS>", "REASON")
    return print_table(columns, rows, "No site is configured.")


@main.command()
@core_command
async def nodes(client: CoreClient, as_json: bool) -> None:
    """List the nodes with what is free on them (free/all)."""
    views = await client.nodes()
    if as_json:
        return print_json(views)
    rows = [
        (
            f"{view.site}/{view.name}",
            view.state,
            portion(view.free_cpus, view.cpus),
            portion(view.free_memory, view.memory),
            portion(view.free_gpus, view.gpus),
            len(view.jobs),
            view.flavor,
            view.reason,
        )
        for view in views
    ]
    columns = ("NODE", "STATE", "CPUS>", "MIB>", "GPUS>", "JOBS>", "FLAVOR", "REASON")
    return print_table(columns, rows, "There is no node now.")


@main.command()
@node_argument
@click.option("--reason", default="", help="Shown to those whose jobs have to wait.")
@core_command
async def drain(client: CoreClient, as_json: bool, node: tuple[str, str], reason: str) -> None:
    """Place no more jobs on a node; those on it go on."""
    _print_node(await client.drain(*node, reason), as_json)


@main.command()
@node_argument
@core_command
async def resume(client: CoreClient, as_json: bool, node: tuple[str, str]) -> None:
    """Place jobs on a drained node again."""
    _print_node(await client.resume(*node), as_json)


def _print_node(view: NodeView, as_json: bool) -> None:
    if as_json:
        return print_json(view)
    reason = f": {view.reason}" if view.reason else ""
    text = f"{view.site}/{view.name} is {view.state}{reason}; {len(view.jobs)} jobs on it"
    return click.echo(plain(text))


def _yes(value: bool) -> str:
    return "yes" if value else "no"
