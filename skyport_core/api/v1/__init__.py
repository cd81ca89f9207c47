"""Version 1 of the REST API: one module a noun."""

from __future__ import annotations

from ...wire import API_PREFIX
from ..handler import ApiHandler
from .events import EventsHandler
from .health import HealthHandler
from .jobs import JobHandler, JobsHandler
from .logs import LogHandler
from .partitions import PartitionHandler, PartitionsHandler
from .sites import (
    FlavorsHandler,
    ImagesHandler,
    NodeHandler,
    NodesHandler,
    QuotasHandler,
    SitesHandler,
)

_JOB = rf"{API_PREFIX}/jobs/(?P<job_id>[^/]+)"

ROUTES: list[tuple[str, type[ApiHandler]]] = [
    (rf"{API_PREFIX}/jobs", JobsHandler),
    (_JOB, JobHandler),
    (rf"{_JOB}/events", EventsHandler),
    (rf"{_JOB}/log", LogHandler),
    (rf"{API_PREFIX}/flavors", FlavorsHandler),
    (rf"{API_PREFIX}/images", ImagesHandler),
    (rf"{API_PREFIX}/quotas", QuotasHandler),
    (rf"{API_PREFIX}/partitions", PartitionsHandler),
    (rf"{API_PREFIX}/partitions/(?P<name>[^/]+)", PartitionHandler),
    (rf"{API_PREFIX}/nodes", NodesHandler),
    (rf"{API_PREFIX}/nodes/(?P<site>[^/]+)/(?P<node>[^/]+)", NodeHandler),
    (rf"{API_PREFIX}/sites", SitesHandler),
    (rf"{API_PREFIX}/health", HealthHandler),
]
