"""Commands about the nodes that were made for jobs."""

from __future__ import annotations

import click

from ..client import CoreClient
from ..wire import PartitionView
from .command import core_command, main
from .finding import complete_partitions
from .output import age, clock, plain, price, print_json, print_table

PARTITION_COLUMNS = (
    *("PARTITION", "SITE", "OWNER", "STATE", "FLAVOR", "WHERE", "PRICE/H>"),
    *("KEPT AS", "AGE>", "DELETED AT", "NOTE"),
)


@main.command()
@click.option("--owner", help="Only of this owner.")
@core_command
async def partitions(client: CoreClient, as_json: bool, owner: str | None) -> None:
    """List the nodes that were made for jobs, and those that are kept asleep."""
    views = await client.partitions(owner=owner)
    if as_json:
        return print_json(views)
    rows = [
        (
            view.name,
            view.site,
            view.owner,
            view.state.value,
            view.flavor,
            _where(view),
            price(view.price),
            view.keep,
            age(view.created_at),
            clock(view.expires_at),
            view.error,
        )
        for view in views
    ]
    return print_table(PARTITION_COLUMNS, rows, "No nodes were made.")


@main.command()
@click.argument("partition", shell_complete=complete_partitions)
@core_command
async def delete_partition(client: CoreClient, as_json: bool, partition: str) -> None:
    """Delete nodes that no job has, such as a machine that was kept."""
    view = await client.delete_partition(partition)
    if as_json:
        return print_json(view)
    doing = f"is {view.state.value}" if view.state.final else "is being deleted"
    return click.echo(plain(f"{view.name} at site {view.site} {doing}"))


def _where(view: PartitionView) -> str:
    parts = [view.region, f"zone {view.zone}" if view.zone else "", "spot" if view.spot else ""]
    return " ".join(part for part in parts if part)
