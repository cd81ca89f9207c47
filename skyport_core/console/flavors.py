"""Commands about what sites offer."""

from __future__ import annotations

import click

from ..client import CoreClient
from ..wire import FlavorQuery, FlavorView
from .command import core_command, main
from .finding import complete_sites
from .output import money, portion, print_json, print_table
from .values import Count, Number
from .wishes import checked

DEFAULT_ROWS = 100
"""Rows of flavors that are shown unless asked for more."""

FLAVOR_COLUMNS = (
    *("SITE", "FLAVOR", "REGION", "CPUS>", "MIB>", "GPUS>", "GPU", "NODES>"),
    *("PRICE/H>", "SPOT/H>", "DESCRIPTION"),
)


@main.command()
@click.option("--site", shell_complete=complete_sites, help="Only at this site.")
@click.option("--region", help="Only in this region.")
@click.option("--name", help="Only with this in the name.")
@click.option("--min-cpus", type=Number(0), help="At least so many cores.")
@click.option("--min-memory", type=Count(0), help="At least so many MiB.")
@click.option("--gpus", type=Count(0), help="At least so many GPUs.")
@click.option("--gpu-type", help="Only with this in the GPU's name.")
@click.option("--max-price", type=Number(0), help="At most this per hour; of spot with --spot.")
@click.option("--spot/--no-spot", default=None, help="Only what there is as spot node, or not as.")
@click.option("--available", is_flag=True, help="Only what can be made now.")
@click.option(
    "--sort",
    type=click.Choice(["price", "spot_price", "name", "cpus", "memory"]),
    default="price",
    show_default=True,
)
@click.option("--limit", type=Count(1), default=DEFAULT_ROWS, show_default=True)
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
    query = checked(FlavorQuery, {"limit": min(limit, 1000), **wish})
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
        money(view.price, view.currency),
        money(view.spot_price, view.currency),
        note,
    )


def _free(free: float | None, whole: float) -> str:
    """``free/whole`` of nodes that exist; of those that are made, all is free."""
    return f"{whole:g}" if free is None else portion(free, whole)


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
