"""A job's events as the entries of JupyterHub's progress page."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import TypedDict

from markupsafe import Markup, escape
from typing_extensions import NotRequired

from skyport_core.client import CoreClient, CoreError, CoreUnavailable
from skyport_core.model import JobState
from skyport_core.wire import EventView

RETRY = 1.0
"""Seconds between two tries while the core is away."""


class ProgressEvent(TypedDict):
    """What ``Spawner.progress()`` yields; keys that the hub does not know reach its clients too."""

    progress: int
    message: str
    html_message: str
    state: NotRequired[str]
    reason: NotRequired[str]
    hint: NotRequired[str]
    position: NotRequired[int]


# The page shows an entry twice: large, and again in its log, where a button would be in the way.
CANCEL_BUTTON = Markup(
    "<style>.progress-log-event .skyport-cancel{{display:none}}</style>"
    '<div class="skyport-cancel mt-2">'
    '<button type="button" class="btn btn-outline-danger btn-sm" '
    'data-url="{url}" onclick="{script}">Cancel {name}</button>'
    '<div role="status" class="small"></div></div>'
)

CANCEL_SCRIPT = """
const button = this, status = button.nextElementSibling;
const token = window.jhdata && window.jhdata.xsrf_token;
button.disabled = true;
status.textContent = 'Cancelling…';
fetch(button.dataset.url + (token ? '?_xsrf=' + encodeURIComponent(token) : ''),
  {method: 'DELETE', headers: {'Content-Type': 'application/json'}})
.then(answer => answer.ok ? null : answer.json().then(body => { throw new Error(body.message); }))
.catch(error => {
  button.disabled = false;
  status.textContent = 'Could not cancel: ' + error.message;
});
"""


def cancel_button(api_url: str, server_name: str) -> Markup:
    """A button that stops just this server.

    The page's own Stop button always stops a user's default server, also on the page of a named
    one.

    Parameters
    ----------
    api_url : str
        The hub's REST address of the server.
    server_name : str
        Empty for the default server.
    """
    name = f"server {json.dumps(server_name, ensure_ascii=False)}" if server_name else "this start"
    script = " ".join(CANCEL_SCRIPT.split())
    return CANCEL_BUTTON.format(url=api_url, name=name, script=script)


def progress_event(
    event: EventView, *, at_least: int, button: Markup, position: int | None = None
) -> ProgressEvent:
    """One entry of the progress page.

    Parameters
    ----------
    event
        The job's event.
    at_least
        Percentage already shown: a job that starts over on another node does not go back.
    button
        What to show below an entry while the start can still be cancelled.
    position
        Place in the queue, from 1, while the job waits.
    """
    html = escape(event.message)
    message = event.message
    if position is not None and event.state is JobState.QUEUED:
        message += f" (number {position} in the queue)"
        html += Markup(' <span class="badge text-bg-secondary">number %d in the queue</span>') % (
            position
        )
    if event.hint:
        html += Markup('<br><small class="text-body-secondary">%s</small>') % event.hint
    if event.state is not JobState.RUNNING and not event.state.final:
        html += button
    shown = ProgressEvent(
        progress=max(at_least, event.progress),
        message=message,
        html_message=str(html),
        state=event.state.value,
        reason=event.reason,
        hint=event.hint,
    )
    if position is not None:
        shown["position"] = position
    return shown


def waiting_event(message: str, *, at_least: int, button: Markup) -> ProgressEvent:
    """An entry for the time in which the core has no event of the job yet."""
    return ProgressEvent(
        progress=at_least, message=message, html_message=str(escape(message) + button)
    )


async def follow(
    client: CoreClient,
    job_id: Callable[[], str],
    accepted: asyncio.Event,
    button: Markup,
    log: logging.Logger,
) -> AsyncGenerator[ProgressEvent, None]:
    """All events of a start so far, then each new one, until the server runs or has ended.

    Parameters
    ----------
    client
        The core.
    job_id
        Gives the job's id; asked once ``accepted`` is set.
    accepted
        Set when the core has the job.
    button
        What cancels the start.
    log
        Where the core's refusals go; the stream then ends early.
    """
    last, percent = 0, 0
    if not accepted.is_set():
        yield waiting_event("Asking Sky Port for a server", at_least=percent, button=button)
        await accepted.wait()
    job = job_id()
    while True:
        try:
            async with aclosing(client.events(job, after=last)) as events:
                async for event in events:
                    place = await _position(client, job) if event.state is JobState.QUEUED else None
                    entry = progress_event(event, at_least=percent, button=button, position=place)
                    last, percent = event.seq, entry["progress"]
                    yield entry
                    if event.state is JobState.RUNNING or event.state.final:
                        return
            return
        except CoreUnavailable:
            message = "Sky Port does not answer now; waiting for it"
            yield waiting_event(message, at_least=percent, button=button)
        except CoreError as error:
            log.warning("Cannot show the progress of job %s: %s", job, error)
            return
        await asyncio.sleep(RETRY)


async def _position(client: CoreClient, job_id: str) -> int | None:
    job = await client.get_job(job_id)
    return None if job is None else job.position
