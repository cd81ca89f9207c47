"""The Tornado application of one door."""

from __future__ import annotations

import asyncio
import re

from tornado.web import Application

from . import pages, skyport, v1
from .guard import Guard
from .handler import NotFound, Running
from .limits import Limits
from .services import Services
from .tracing import log_request

HEARTBEAT = 15.0
"""Seconds between two signs of life in a stream of events."""

LOADING = 2
"""Scripts that are read from the database at once for those who want to see them."""


def make_application(
    services: Services,
    *,
    heartbeat: float = HEARTBEAT,
    prefix: str = "",
    limits: Limits | None = None,
    original: bool = False,
) -> Application:
    """The REST API, to be served by one door.

    The door says who calls, as the setting ``identify``; without a door everybody is refused.

    Parameters
    ----------
    services : Services
        The rest of the core.
    heartbeat : float
        Seconds between two signs of life in a stream of events.
    prefix : str
        What all paths at this door begin with; without a slash at its end.
    limits : Limits, optional
        Holds callers to their rates, at all doors that are given the same. None: nobody is held.
    original : bool
        Speak the wire protocol of the original Sky Port too.
    """
    shared = {"services": services}
    running: Running = set()
    root = re.escape(prefix)
    routes = [*pages.ROUTES, *v1.ROUTES, *(skyport.ROUTES if original else ())]
    return Application(
        [(root + pattern, handler, shared) for pattern, handler in routes],
        default_handler_class=NotFound,
        default_handler_args=shared,
        log_function=log_request,
        heartbeat=heartbeat,
        running=running,
        guard=Guard(),
        prefix=prefix,
        limits=limits,
        loading=asyncio.Semaphore(LOADING),
    )
