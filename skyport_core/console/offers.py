"""The command that tells where a job would go."""

from __future__ import annotations

from typing import Any

import click

from ..client import CoreClient
from ..wire import OfferList, OfferRequest, OfferView
from .command import core_command, main
from .finding import complete_files
from .output import clock, money, plain, print_json, print_table
from .values import Count
from .wishes import OPTIONS, ProgramCommand, checked, program, refusals, wished, with_options

COLUMNS = (
    *("STATE", "SITE", "FLAVOR", "NODE", "REGION", "SPOT", "CPUS>", "MIB>", "GPUS>"),
    *("PRICE/H>", "COST>", "START", "WHY NOT"),
)


@main.command(cls=ProgramCommand, context_settings={"ignore_unknown_options": True})
@click.argument(
    "command",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="[SCRIPT|-- COMMAND...]",
    shell_complete=complete_files,
)
@with_options(*OPTIONS)
@click.option("--limit", type=Count(1), default=20, show_default=True, help="Rows.")
@core_command
async def offers(
    client: CoreClient,
    as_json: bool,
    command: tuple[str, ...],
    literal: bool,
    limit: int,
    **options: Any,
) -> None:
    """Show where a job would go, when and at what price, and why not elsewhere; nothing is done.

    Takes what submit takes; the script or command may be left out.
    """
    what = program(command, literal=literal)
    fields = {**what.fields, **await wished(client, options)}
    with refusals(what, fields):
        answer = await client.offers(checked(OfferRequest, fields))
    if as_json:
        return print_json(answer)
    click.echo(plain(_verdict(answer)))
    print_table(COLUMNS, map(_row, answer.offers[:limit]), "No site offers anything now.")
    if answer.total > limit:
        click.echo(f"{limit} of {answer.total} are shown; --limit shows more.", err=True)
    return None


def _verdict(answer: OfferList) -> str:
    reason = f": {answer.reason}" if answer.reason else ""
    hint = f" ({answer.hint})" if answer.hint else ""
    if answer.verdict == "starts":
        return f"The job would start at once{reason}{hint}"
    if answer.verdict == "impossible":
        return f"The job could never run{reason}{hint}"
    position = f" at position {answer.position}" if answer.position else ""
    start = f", until about {clock(answer.start)}" if answer.start else ""
    return f"The job would wait{position}{start}{reason}{hint}"


def _row(view: OfferView) -> tuple[object, ...]:
    return (
        view.state,
        view.site,
        view.flavor,
        view.node or "(new)",
        view.region,
        "spot" if view.spot else "",
        view.cpus,
        view.memory,
        view.gpus,
        money(view.price, view.currency),
        money(view.cost, view.currency),
        clock(view.start),
        view.reason,
    )
