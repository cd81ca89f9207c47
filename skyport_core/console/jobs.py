"""Commands about jobs."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing

import click

from ..client import CoreClient, CoreError
from ..model import ACTIVE_STATES, JobKind, JobState
from ..wire import EventView, JobView
from .command import core_command, main
from .output import age, clock, plain, print_fields, print_json, print_table

SHORT_ID = 8
"""Characters of an id that tables show."""

PAGE = 1000
SEARCHED_PAGES = 10
"""How far back an id is looked for by its first characters."""

LOG_PAUSE = 1.0
"""Seconds between two looks for more log."""

job_argument = click.argument("job", metavar="JOB")


@main.command()
@click.option("--all", "-a", "ended", is_flag=True, help="Also those that have ended.")
@click.option("--owner", help="Only of this owner.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(list(JobState.__members__), case_sensitive=False),
    help="Only in this state; may be given several times.",
)
@click.option("--kind", type=click.Choice([kind.value for kind in JobKind]), help="Only this kind.")
@click.option("--limit", type=click.IntRange(1, PAGE), default=100, show_default=True)
@core_command
async def jobs(
    client: CoreClient,
    as_json: bool,
    ended: bool,
    owner: str | None,
    states: tuple[str, ...],
    kind: str | None,
    limit: int,
) -> None:
    """List jobs, the newest first."""
    chosen = [JobState[name] for name in states] or ([] if ended else ACTIVE_STATES)
    views = await client.list_jobs(
        owner=owner, states=chosen, kind=JobKind(kind) if kind else None, limit=limit
    )
    if as_json:
        return print_json(views)
    columns = ("ID", "STATE", "OWNER", "NODE", "AGE>", "NAME", "NOTE")
    rows = [
        (
            view.id[:SHORT_ID],
            view.state,
            view.owner,
            _place(view),
            age(view.created_at),
            view.name,
            view.failure.message if view.failure else view.wait_reason,
        )
        for view in views
    ]
    return print_table(columns, rows, "No such jobs.")


@main.command()
@job_argument
@core_command
async def show(client: CoreClient, as_json: bool, job: str) -> None:
    """Show all about a job."""
    view = await _find(client, job)
    if as_json:
        return print_json(view)
    print_fields(_fields(view))
    if view.failure and view.failure.log_tail:
        click.echo("\nLast lines of its log:\n" + plain(view.failure.log_tail))
    return None


@main.command()
@job_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@core_command
async def events(client: CoreClient, as_json: bool, job: str, follow: bool) -> None:
    """Show what happened to a job; with --json one object a line."""
    view = await _find(client, job)
    async with aclosing(client.events(view.id, follow=follow)) as stream:
        async for event in stream:
            click.echo(event.model_dump_json() if as_json else _line(event))


@main.command()
@job_argument
@click.option("--follow", "-f", is_flag=True, help="Go on until the job has ended.")
@click.option("--stderr", is_flag=True, help="Its standard error, where that is kept apart.")
@click.option("--boot", is_flag=True, help="What a machine that did not come up for it printed.")
@core_command
async def logs(
    client: CoreClient, as_json: bool, job: str, follow: bool, stderr: bool, boot: bool
) -> None:
    """Print what a job wrote; with --json one object a part."""
    if stderr and boot:
        raise click.UsageError("Choose one of --stderr and --boot.")
    view = await _find(client, job)
    offset = 0
    stream = "boot" if boot else "stderr" if stderr else "stdout"
    async for data in _log(client, view, stream, follow):
        if as_json:
            text = data.decode(errors="replace")
            click.echo(json.dumps({"offset": offset, "text": text}))
        else:
            click.echo(data, nl=False)
        offset += len(data)


@main.command()
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True)
@click.option("--wait", "-w", is_flag=True, help="Return only once the jobs have ended.")
@core_command
async def cancel(client: CoreClient, as_json: bool, jobs: tuple[str, ...], wait: bool) -> None:
    """Cancel jobs, in whatever state they are."""
    found = [await _find(client, job) for job in jobs]
    views = [await client.delete_job(view.id) or view for view in found]
    if wait:
        views = [await _ended(client, view) for view in views]
    if as_json:
        return print_json(views)
    for view in views:
        doing = f"is {view.state.value}" if view.state.final else "is being cancelled"
        click.echo(plain(f"Job {view.id} of {view.owner} {doing}"))
    return None


async def _find(client: CoreClient, text: str) -> JobView:
    """The job with this id, or the one whose id begins like this."""
    if len(text) == 36:
        view = await client.get_job(text)
        if view is None:
            raise CoreError(404, "job_not_found", f"There is no job {text}.")
        return view
    if not re.fullmatch(r"[0-9a-f][0-9a-f-]*", text):
        raise click.UsageError(f"{text!r} is not the id of a job nor the beginning of one.")
    found = [view async for view in _newest(client) if view.id.startswith(text)]
    if not found:
        raise CoreError(404, "job_not_found", f"There is no job whose id begins with {text}.")
    if len(found) > 1:
        some = ", ".join(view.id for view in found[:5])
        raise click.UsageError(f"{len(found)} jobs begin with {text}: {some}")
    return found[0]


async def _newest(client: CoreClient) -> AsyncIterator[JobView]:
    after = None
    for _ in range(SEARCHED_PAGES):
        page = await client.list_jobs(limit=PAGE, after=after)
        for view in page:
            yield view
        if len(page) < PAGE:
            return
        after = page[-1].id


async def _log(
    client: CoreClient, view: JobView, stream: str, follow: bool
) -> AsyncIterator[bytes]:
    offset = 0
    while True:
        # Looked at before the log: what a job wrote before it ended is then never missed.
        current = await client.get_job(view.id, wait=60) if follow else None
        chunk = await client.log(view.id, stream, offset=offset, wait=60 if follow else 0)
        if chunk.data:
            yield chunk.data
            offset = chunk.next_offset
        elif not follow or current is None or current.state.final:
            return
        else:
            await asyncio.sleep(LOG_PAUSE)


async def _ended(client: CoreClient, view: JobView) -> JobView:
    async with aclosing(client.events(view.id)) as stream:
        async for _ in stream:
            pass
    return await client.get_job(view.id) or view


def _fields(view: JobView) -> list[tuple[str, object]]:
    needs = [
        f"{view.cpus:g} cpus" if view.cpus else "",
        f"{view.memory} MiB" if view.memory else "",
    ]
    needs.append(f"{view.gpus} gpus" if view.gpus else "")
    failure = view.failure
    return [
        ("Job", view.id),
        ("Name", view.name),
        ("Owner", view.owner),
        ("Kind", view.kind.value),
        ("State", view.state),
        ("Waits for", view.wait_reason),
        ("Position", view.position),
        ("Node", _place(view)),
        ("Partition", view.partition),
        ("Flavor", view.flavor),
        ("Region", view.region),
        ("Kept as", view.keep),
        ("Resources", ", ".join(part for part in needs if part)),
        ("Address", f"{view.address.host}:{view.address.port}" if view.address else None),
        ("Submitted", clock(view.created_at)),
        ("Started", clock(view.started_at)),
        ("Ends at", clock(view.expires_at) if not view.state.final else ""),
        ("Ended", clock(view.ended_at)),
        ("Exit code", view.exit_code),
        ("Failure", f"{failure.message} [{failure.reason}]" if failure else None),
        ("Hint", failure.hint if failure else None),
    ]


def _place(view: JobView) -> str:
    return f"{view.site}/{view.node}" if view.node else view.site or ""


def _line(event: EventView) -> str:
    hint = f" ({event.hint})" if event.hint else ""
    return plain(
        f"{clock(event.time)} {event.progress:3d}% {event.state.value:<10} {event.message}{hint}"
    )
