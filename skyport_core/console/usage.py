"""The command that tells what jobs used and cost."""

from __future__ import annotations

import datetime as dt

import click

from ..client import CoreClient
from ..wire import UsageQuery
from .command import core_command, main
from .finding import complete_sites
from .output import money, print_json, print_table
from .wishes import checked

KEYS = ("owner", "account", "site", "flavor", "day")

_DATE = click.DateTime(formats=["%Y-%m-%d"])


@main.command()
@click.option("--since", type=_DATE, help="First day (UTC). [default: 30 days ago]")
@click.option("--until", type=_DATE, help="Last day (UTC). [default: today]")
@click.option("--owner", help="Only of this owner.")
@click.option("--account", help="Only of this account.")
@click.option("--site", shell_complete=complete_sites, help="Only at this site.")
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(KEYS),
    help="What rows are told apart by; may be repeated. [default: owner, site, day]",
)
@core_command
async def usage(
    client: CoreClient,
    as_json: bool,
    since: dt.datetime | None,
    until: dt.datetime | None,
    by: tuple[str, ...],
    **wanted: str | None,
) -> None:
    """Show how many node hours jobs used, and what that cost."""
    given = {
        "since": since.date() if since else None,
        "until": until.date() if until else None,
        "by": by or None,
        **wanted,
    }
    fields = {name: value for name, value in given.items() if value is not None}
    query = checked(UsageQuery, fields)
    answer = await client.usage(query)
    if as_json:
        return print_json(answer)
    rows = [
        (
            *(getattr(view, key) for key in query.by),
            view.jobs,
            f"{view.node_hours:.2f}",
            f"{view.cpu_hours:.2f}",
            f"{view.gpu_hours:.2f}",
            money(view.cost, view.currency),
        )
        for view in answer.usage
    ]
    columns = [key.upper() for key in query.by]
    columns += ["JOBS>", "NODE H>", "CPU H>", "GPU H>", "COST>"]
    return print_table(columns, rows, f"Nothing was used from {answer.since} to {answer.until}.")
