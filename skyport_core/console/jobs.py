"""Commands about jobs."""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import click

from ..client import CoreClient
from ..model import ACTIVE_STATES, JobKind, JobState
from ..wire import JobPatch, JobQuery, JobView
from .command import core_command, main
from .finding import PAGE, complete_jobs, complete_sites, find, job_argument
from .output import Screen, age, clock, length, line, plain, print_fields, print_json, print_table
from .values import Count, time
from .views import job_fields, place
from .wishes import checked

SHORT_ID = 8
"""Characters of an id that tables show."""

jobs_argument = click.argument(
    "jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=complete_jobs
)


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
@click.option("--name", help="Only of exactly this name.")
@click.option("--site", shell_complete=complete_sites, help="Only at this site.")
@click.option("--array", metavar="JOB", shell_complete=complete_jobs, help="Only of this array.")
@click.option("--since", type=click.DateTime(), help="Only submitted after this time.")
@click.option("--until", type=click.DateTime(), help="Only submitted before this time.")
@click.option("--limit", type=Count(1), default=100, show_default=True)
@core_command
async def jobs(
    client: CoreClient,
    as_json: bool,
    ended: bool,
    owner: str | None,
    states: tuple[str, ...],
    kind: str | None,
    array: str | None,
    since: dt.datetime | None,
    until: dt.datetime | None,
    limit: int,
    **wanted: Any,
) -> None:
    """List jobs, the newest first."""
    chosen = [JobState[name] for name in states] or ([] if ended else ACTIVE_STATES)
    query = JobQuery(
        owner=owner,
        state=tuple(chosen),
        kind=JobKind(kind) if kind else None,
        array=(await find(client, array)).array if array else None,
        submitted_after=since.astimezone() if since else None,
        submitted_before=until.astimezone() if until else None,
        limit=min(limit, PAGE),
        **wanted,
    )
    views: list[JobView] = []
    async with aclosing(client.jobs(query)) as found:
        async for view in found:
            views.append(view)
            if len(views) == limit:
                break
    if as_json:
        return print_json(views)
    columns = ("ID", "STATE", "OWNER", "NODE", "AGE>", "NAME", "NOTE")
    rows = [
        (
            view.id[:SHORT_ID],
            view.state,
            view.owner,
            place(view),
            age(view.created_at),
            view.name if view.array_index is None else f"{view.name} [{view.array_index}]",
            view.failure.message if view.failure else view.wait_reason,
        )
        for view in views
    ]
    return print_table(columns, rows, "No such jobs.")


@main.command()
@job_argument
@click.option("--script", is_flag=True, help="Print the job's script.")
@core_command
async def show(client: CoreClient, as_json: bool, job: str, script: bool) -> None:
    """Show all about a job."""
    view = await find(client, job)
    if script:
        return Screen().show((await client.script(view.id)).encode(), last=True)
    if as_json:
        return print_json(view)
    print_fields(job_fields(view))
    if view.failure and view.failure.log_tail:
        click.echo("\nLast lines of its log:\n" + plain(view.failure.log_tail))
    return None


@main.command()
@jobs_argument
@click.option("--array", is_flag=True, help="All jobs of its array.")
@click.option("--wait", "-w", is_flag=True, help="Return only once the jobs have ended.")
@core_command
async def cancel(
    client: CoreClient, as_json: bool, jobs: tuple[str, ...], array: bool, wait: bool
) -> None:
    """Cancel jobs, in whatever state they are."""

    async def one(view: JobView) -> JobView:
        return await client.delete_job(view.id, array=array) or view

    views = await _each(client, jobs, one)
    if wait:
        views = [await client.ended(view.id) for view in views]
    _report(views, as_json, "is being cancelled")


@main.command()
@jobs_argument
@core_command
async def requeue(client: CoreClient, as_json: bool, jobs: tuple[str, ...]) -> None:
    """Have jobs start over; what they did so far is dropped."""

    async def one(view: JobView) -> JobView:
        return await client.requeue(view.id)

    _report(await _each(client, jobs, one), as_json, "starts over", final=False)


@main.command()
@jobs_argument
@core_command
async def hold(client: CoreClient, as_json: bool, jobs: tuple[str, ...]) -> None:
    """Keep queued jobs from starting."""

    async def one(view: JobView) -> JobView:
        return await client.hold(view.id)

    _report(await _each(client, jobs, one), as_json, "is held")


@main.command()
@jobs_argument
@core_command
async def release(client: CoreClient, as_json: bool, jobs: tuple[str, ...]) -> None:
    """Let held jobs start."""

    async def one(view: JobView) -> JobView:
        return await client.release(view.id)

    _report(await _each(client, jobs, one), as_json, "may start")


@main.command()
@job_argument
@click.argument("walltime", type=time)
@core_command
async def extend(client: CoreClient, as_json: bool, job: str, walltime: int) -> None:
    """Let a job run for this long from its start; only longer once it runs.

    WALLTIME has the forms of submit: 3600 (seconds), 90m, 1.5h, 2d, 1w, MM:SS, HH:MM:SS or
    D-HH[:MM:SS].
    """
    view = await client.extend((await find(client, job)).id, walltime)
    until = f", until {clock(view.expires_at)}" if view.expires_at else " from its start"
    _report([view], as_json, f"may run for {length(walltime)}{until}", final=False)


@main.command()
@job_argument
@click.argument("name")
@click.option("--comment", help="Change the remark too.")
@core_command
async def rename(
    client: CoreClient, as_json: bool, job: str, name: str, comment: str | None
) -> None:
    """Give a job another name."""
    view = await find(client, job)
    given = {"name": name, "comment": comment}
    patch = checked(JobPatch, {key: text for key, text in given.items() if text is not None})
    _report([await client.patch_job(view.id, patch)], as_json, "is renamed", final=False)


@main.command()
@jobs_argument
@core_command
async def delete(client: CoreClient, as_json: bool, jobs: tuple[str, ...]) -> None:
    """Remove the records of jobs that have ended, with their events, logs and files."""

    async def one(view: JobView) -> JobView:
        await client.delete_record(view.id)
        return view

    _report(await _each(client, jobs, one), as_json, "is deleted", final=False)


async def _each(
    client: CoreClient, jobs: tuple[str, ...], work: Callable[[JobView], Awaitable[JobView]]
) -> list[JobView]:
    """Do it to all, after all were found: a wrong id among them changes nothing."""
    found = [await find(client, job) for job in jobs]
    return [await work(view) for view in found]


def _report(views: list[JobView], as_json: bool, doing: str, *, final: bool = True) -> None:
    if as_json:
        return print_json(views)
    for view in views:
        now = f"is {view.state.value}" if final and view.state.final else doing
        click.echo(line(f"Job {view.id} of {view.owner} {now}"))
    return None
