"""Commands about what sites offer, and what was made of it."""

from __future__ import annotations

import click

from ..client import CoreClient
from ..wire import FlavorQuery, FlavorView, PartitionView
from .command import core_command, main
from .output import age, clock, plain, portion, price, print_json, print_table

DEFAULT_ROWS = 100
"""Rows of flavors that are shown unless asked for more."""

FLAVOR_COLUMNS = (
    *("SITE", "FLAVOR", "REGION", "CPUS>", "MIB>", "GPUS>", "GPU", "NODES>"),
    *("PRICE/H>", "SPOT/H>", "DESCRIPTION"),
)
PARTITION_COLUMNS = (
    *("PARTITION", "SITE", "OWNER", "STATE", "FLAVOR", "WHERE", "PRICE/H>"),
    *("KEPT AS", "AGE>", "DELETED AT", "NOTE"),
)


@main.command()
@click.option("--site", help="Only at this site.")
@click.option("--region", help="Only in this region.")
@click.option("--name", help="Only with this in the name.")
@click.option("--min-cpus", type=click.FloatRange(0), help="At least so many cores.")
@click.option("--min-memory", type=click.IntRange(0), help="At least so many MiB.")
@click.option("--gpus", type=click.IntRange(0), help="At least so many GPUs.")
@click.option("--gpu-type", help="Only with this in the GPU's name.")
@click.option(
    "--max-price", type=click.FloatRange(0), help="At most this per hour; of spot with --spot."
)
@click.option("--spot/--no-spot", default=None, help="Only what there is as spot node, or not as.")
@click.option("--available", is_flag=True, help="Only what can be made now.")
@click.option(
    "--sort",
    type=click.Choice(["price", "spot_price", "name", "cpus", "memory"]),
    default="price",
    show_default=True,
)
@click.option("--limit", type=click.IntRange(1), default=DEFAULT_ROWS, show_default=True)
@core_command
async def flavors(
    client: CoreClient,
    as_json: bool,
    gpus: int | None,
    available: bool,
    limit: int,
    **wanted: object,
) -> None:
    """List the node types on offer, the cheapest first, with what is free of them."""
    wish = {"min_gpus": gpus, "available": available or None, **wanted}
    query = FlavorQuery.model_validate({"limit": min(limit, 1000), **wish})
    views = await client.flavors(query, limit=limit)
    if as_json:
        return print_json(views)
    print_table(FLAVOR_COLUMNS, map(_flavor_row, views), "No site offers such a thing now.")
    if len(views) == limit:
        click.echo(f"The first {limit} are shown; --limit shows more.", err=True)
    return None


def _flavor_row(view: FlavorView) -> tuple[object, ...]:
    note = view.description if view.available else f"not available: {view.reason}"
    return (
        view.site,
        view.name,
        view.region,
        _free(view.free_cpus, view.cpus),
        _free(view.free_memory, view.memory),
        _free(view.free_gpus, view.gpus),
        view.gpu_type,
        portion(view.available_nodes, view.capacity),
        _money(view.price, view.currency),
        _money(view.spot_price, view.currency),
        note,
    )


def _free(free: float | None, whole: float) -> str:
    """``free/whole`` of nodes that exist; of those that are made, all is free."""
    return f"{whole:g}" if free is None else portion(free, whole)


def _money(value: float | None, currency: str) -> str | None:
    text = price(value)
    return text if text is None or currency == "USD" else f"{text} {currency}"


@main.command()
@core_command
async def images(client: CoreClient, as_json: bool) -> None:
    """List the images that nodes can boot."""
    views = await client.images()
    if as_json:
        return print_json(views)
    rows = [(view.site, view.name, view.kind, view.description) for view in views]
    return print_table(("SITE", "IMAGE", "KIND", "DESCRIPTION"), rows, "No site names images.")


@main.command()
@click.option("--region", help="Only of this region.")
@click.option("--used", is_flag=True, help="Only those of which something is used.")
@core_command
async def quotas(client: CoreClient, as_json: bool, region: str | None, used: bool) -> None:
    """List the limits of the accounts behind the sites."""
    views = [
        view
        for view in await client.quotas()
        if region in (None, view.region) and (view.used or not used)
    ]
    if as_json:
        return print_json(views)
    rows = [
        (view.site, view.region, view.name, portion(view.used, view.limit), view.description)
        for view in views
    ]
    columns = ("SITE", "REGION", "QUOTA", "USED>", "DESCRIPTION")
    return print_table(columns, rows, "No site tells of limits.")


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
@click.argument("partition")
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
