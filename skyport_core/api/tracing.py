"""Ids of requests, which every line of the log that a request causes carries."""

from __future__ import annotations

import logging
import re
import uuid
from contextvars import ContextVar

ACCESS = "skyport.access"
"""Name of the log that has a line for each request."""

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
