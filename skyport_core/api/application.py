"""The Tornado application of one door."""

from __future__ import annotations

from tornado.web import Application

from . import v1
from .caller import Identify
from .handler import NotFound, log_request
from .services import Services

HEARTBEAT = 15.0
"""Seconds between two signs of life in a stream of events."""


def make_application(
    services: Services, identify: Identify, *, heartbeat: float = HEARTBEAT
) -> Application:
    """The REST API behind one door.

    Parameters
    ----------
    services : Services
        The rest of the core.
    identify : callable
        Says who sent a request; each door has its own way to know.
    heartbeat : float
        Seconds between two signs of life in a stream of events.
    """
    shared = {"services": services, "identify": identify}
    routes = [(pattern, handler, shared) for pattern, handler in v1.ROUTES]
    return Application(
        routes,
        default_handler_class=NotFound,
        default_handler_args=shared,
        log_function=log_request,
        heartbeat=heartbeat,
        running=set(),
    )
