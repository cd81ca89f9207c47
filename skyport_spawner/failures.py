"""What a user sees when a server does not start: one message for people, one for the log."""

from __future__ import annotations

import jupyterhub.spawner
from markupsafe import Markup, escape
from tornado import web

from skyport_core.client import CoreError, CoreUnavailable
from skyport_core.wire import JobView

from .options import OptionError

# JupyterHub 5 has no exception of its own for failures that are expected.
SpawnException = getattr(jupyterhub.spawner, "SpawnException", None)


class HubError(web.HTTPError):
    """An HTTP error with texts for the hub's pages."""

    jupyterhub_message: str
    jupyterhub_html_message: str


def spawn_failure(
    message: str,
    *,
    reason: str,
    hint: str = "",
    log_tail: str = "",
    log_message: str = "",
    status_code: int = 500,
) -> HubError:
    """The exception that makes JupyterHub show a failure without a traceback.

    Parameters
    ----------
    message : str
        What happened, in words the user may see.
    reason : str
        One word for the hub's metrics.
    hint : str
        What the user can do next.
    log_tail : str
        The last lines of the server's own output; shown below the message.
    log_message : str
        What the hub logs; the message when empty.
    status_code : int
        HTTP status of the answer; 400 for a wrong request.

    Returns
    -------
    HubError
        In fact a ``SpawnException``, with the same attributes, on JupyterHub 6 and newer.
    """
    text = f"{_sentence(message)} {hint}".strip()
    html = str(failure_html(message, hint, log_tail))
    error: HubError
    if SpawnException is None:
        error = HubError(status_code, log_message or text)
    else:
        error = SpawnException(
            text,
            reason=reason,
            message_html=html,
            log_message=log_message or text,
            status_code=status_code,
        )
    # The pages that show a failed start read these two; an exception's own text is for the log.
    error.jupyterhub_message = f"{text}\n{log_tail}".strip()
    error.jupyterhub_html_message = html
    return error


def failure_html(message: str, hint: str, log_tail: str) -> Markup:
    """The same as HTML; every part is escaped."""
    parts = [Markup("<strong>%s</strong>") % message]
    if hint:
        parts.append(Markup("<br>%s") % hint)
    if log_tail:
        parts.append(Markup('<pre class="skyport-log text-start mt-2">%s</pre>') % escape(log_tail))
    return Markup("").join(parts)


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."


def job_failure(job: JobView) -> HubError:
    """The exception for a job that ended before its server was ready."""
    if job.failure is not None:
        failure = job.failure
        return spawn_failure(
            failure.message,
            reason=failure.reason,
            hint=failure.hint,
            log_tail=failure.log_tail,
            log_message=f"Job {job.id} failed ({failure.reason}): {failure.message}",
        )
    if job.exit_code is not None:
        return spawn_failure(
            f"The server ended with exit code {job.exit_code} before it was ready.",
            reason="exit",
            log_message=f"Job {job.id} ended with exit code {job.exit_code} while starting",
        )
    return spawn_failure(
        "The start was cancelled.",
        reason="cancelled",
        log_message=f"Job {job.id} is {job.state.value}",
        status_code=409,
    )


def option_failure(error: OptionError) -> HubError:
    """The exception for an option that cannot be granted."""
    return spawn_failure(error.message, reason="options", status_code=400)


def core_failure(error: CoreUnavailable | CoreError) -> HubError:
    """The exception for a core that cannot be reached or refuses the job."""
    if isinstance(error, CoreUnavailable):
        return spawn_failure(
            "Sky Port does not answer now.",
            reason="core_unavailable",
            hint="Try again in a moment; if it goes on, tell your administrator.",
            log_message=str(error),
            status_code=503,
        )
    if error.status == 410:
        return spawn_failure(
            "The start was cancelled.", reason="cancelled", log_message=str(error), status_code=409
        )
    where = f" ({error.field})" if error.field else ""
    return spawn_failure(
        f"Sky Port refused the server{where}: {error.message}",
        reason="refused",
        log_message=f"The core refused the job: {error.status} {error.code}: {error.message}",
        status_code=400 if error.status < 500 else 500,
    )
