"""Which job a person means, and what the Tab key offers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import click
from click.shell_completion import CompletionItem

from ..client import CoreClient, CoreError, CoreUnavailable
from ..model import Condition
from ..wire import FlavorQuery, JobQuery, JobView
from .command import Target
from .contexts import ContextError

PAGE = 1000
SEARCHED = 10 * PAGE
"""How far back an id is looked for by its first characters."""

DEADLINE = 1.0
"""Seconds that the Tab key waits for the core."""


async def find(client: CoreClient, text: str) -> JobView:
    """The job with this id, or the one whose id begins like this."""
    if len(text) == 36:
        view = await client.get_job(text)
        if view is None:
            raise CoreError(404, "job_not_found", f"There is no job {text}.")
        return view
    if not re.fullmatch(r"[0-9a-f][0-9a-f-]*", text):
        raise click.UsageError(f"{text!r} is not the id of a job nor the beginning of one.")
    found, looked = [], 0
    async with aclosing(client.jobs(JobQuery(limit=PAGE))) as views:
        async for view in views:
            looked += 1
            if view.id.startswith(text):
                found.append(view)
            if looked == SEARCHED:
                break
    if not found:
        raise CoreError(404, "job_not_found", f"There is no job whose id begins with {text}.")
    if len(found) > 1:
        some = ", ".join(view.id for view in found[:5])
        raise click.UsageError(f"{len(found)} jobs begin with {text}: {some}")
    return found[0]


Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completer(ask: Callable[[CoreClient, str], Coroutine[Any, Any, list[str]]]) -> Completer:
    """What the Tab key offers, as ``ask`` finds out from the core; nothing if that takes long."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
        given = context.find_root().params
        target = Target(given.get("socket"), given.get("context_name"))

        async def work() -> list[str]:
            async with CoreClient(target.endpoint(), timeout=DEADLINE) as client:
                return await ask(client, incomplete)

        try:
            found = asyncio.run(work())
        except (CoreError, CoreUnavailable, ContextError, click.UsageError):
            return []
        fit = {each for each in found if each.startswith(incomplete)}
        return sorted(each for each in fit if each.isprintable())

    return complete


@completer
async def complete_jobs(client: CoreClient, incomplete: str) -> list[str]:
    """Ids of the newest jobs."""
    page = await client.job_page(JobQuery(limit=PAGE))
    return [view.id for view in page.jobs]


@completer
async def complete_sites(client: CoreClient, incomplete: str) -> list[str]:
    """Names of sites."""
    return [view.name for view in await client.sites()]


@completer
async def complete_flavors(client: CoreClient, incomplete: str) -> list[str]:
    """Names of flavors."""
    query = FlavorQuery(name=incomplete or None, limit=PAGE)
    return [view.name for view in (await client.flavor_page(query)).flavors]


@completer
async def complete_nodes(client: CoreClient, incomplete: str) -> list[str]:
    """Nodes as SITE/NODE."""
    return [f"{view.site}/{view.name}" for view in await client.nodes()]


@completer
async def complete_dependencies(client: CoreClient, incomplete: str) -> list[str]:
    """``WHEN:`` and ids of the newest jobs."""
    given = incomplete.rpartition(":")[0]
    page = await client.job_page(JobQuery(limit=PAGE))
    ids = [f"{given}:{view.id}" if given else view.id for view in page.jobs]
    return [*ids, *(f"{each.value}:" for each in Condition)]


@completer
async def complete_partitions(client: CoreClient, incomplete: str) -> list[str]:
    """Names of the nodes that were made."""
    return [view.name for view in await client.partitions()]


def complete_files(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Files of this machine, which the shell knows best."""
    return [CompletionItem(incomplete, type="file")]


def complete_outputs(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Files that the job brought home."""

    @completer
    async def outputs(client: CoreClient, incomplete: str) -> list[str]:
        job = await find(client, context.params["job"])
        listed = await client.files(job.id)
        return [each.path for each in listed.files if each.kind == "output"]

    return outputs(context, parameter, incomplete) if context.params.get("job") else []


job_argument = click.argument("job", metavar="JOB", shell_complete=complete_jobs)
