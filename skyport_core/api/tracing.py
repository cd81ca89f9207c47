"""Ids of requests, which every line of the log that a request causes carries; its own line."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar

from tornado.web import RequestHandler

ACCESS = "skyport.access"
"""Name of the log that has a line for each request."""

access_log = logging.getLogger(ACCESS)

_current: ContextVar[str] = ContextVar("skyport_request", default="")


def make_request_id(given: str) -> str:
    """The id of a request: what its caller named it, if that is fit for a log, or a new one."""
    return given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex


def work_for(request: str) -> None:
    """Whatever the present task logs from now on is for this request."""
    _current.set(request)


class RequestFilter(logging.Filter):
    """Gives records the attribute ``request``: `` id=…``, or nothing outside of requests."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        current = _current.get()
        told = record.name == ACCESS  # its lines say it themselves
        record.request = f" id={current}" if current and not told else ""
        return True


def log_request(handler: RequestHandler) -> None:
    """Write one line of access log: never the query or a body, which may hold secrets."""
    status = handler.get_status()
    caller = getattr(handler, "caller", None)
    access_log.log(
        logging.ERROR if status >= 500 else logging.INFO,
        "%s %s %d %.1f ms caller=%s id=%s",
        handler.request.method,
        handler.request.path,
        status,
        1000 * handler.request.request_time(),
        caller.name if caller else "-",
        getattr(handler, "request_id", "-"),
    )
