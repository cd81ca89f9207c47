"""The Tornado application of one door."""

from __future__ import annotations

from tornado.web import Application

from . import v1
from .handler import NotFound, Running, log_request
from .services import Services

HEARTBEAT = 15.0
"""Seconds between two signs of life in a stream of events."""


def make_application(services: Services, *, heartbeat: float = HEARTBEAT) -> Application:
    """The REST API, to be served by one door.

    The door says who calls, as the setting ``identify``; without a door everybody is refused.

    Parameters
    ----------
    services : Services
        The rest of the core.
    heartbeat : float
        Seconds between two signs of life in a stream of events.
    """
    shared = {"services": services}
    running: Running = set()
    return Application(
        [(pattern, handler, shared) for pattern, handler in v1.ROUTES],
        default_handler_class=NotFound,
        default_handler_args=shared,
        log_function=log_request,
        heartbeat=heartbeat,
        running=running,
    )
