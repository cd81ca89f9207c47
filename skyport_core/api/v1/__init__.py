"""Version 1 of the REST API: one module a noun."""

from __future__ import annotations

from ...wire import API_PREFIX
from ..handler import ApiBase
from .actions import RecordHandler, RequeueHandler, ScriptHandler
from .certificates import AuthorityHandler, CertificateHandler, CertificatesHandler
from .document import DocumentHandler, VersionHandler
from .events import EventsHandler
from .files import FilesHandler, InputHandler, OutputHandler
from .health import HealthHandler
from .job import JobHandler
from .jobs import JobsHandler
from .logs import LogHandler
from .offers import OffersHandler
from .partitions import PartitionHandler, PartitionsHandler
from .sites import (
    FlavorsHandler,
    ImagesHandler,
    NodeHandler,
    NodesHandler,
    QuotasHandler,
    SitesHandler,
)
from .sockets import PortSocket, ShellSocket
from .tunnels import TunnelsHandler
from .usage import UsageHandler

_JOB = rf"{API_PREFIX}/jobs/(?P<job_id>[^/]+)"

ROUTES: list[tuple[str, type[ApiBase]]] = [
    (rf"{API_PREFIX}/jobs", JobsHandler),
    (_JOB, JobHandler),
    (rf"{_JOB}/requeue", RequeueHandler),
    (rf"{_JOB}/record", RecordHandler),
    (rf"{_JOB}/script", ScriptHandler),
    (rf"{_JOB}/events", EventsHandler),
    (rf"{_JOB}/log", LogHandler),
    (rf"{_JOB}/files", FilesHandler),
    (rf"{_JOB}/files/(?P<path>.+)", OutputHandler),
    (rf"{_JOB}/inputs/(?P<path>.+)", InputHandler),
    (rf"{_JOB}/ports/(?P<port>[^/]+)", PortSocket),
    (rf"{_JOB}/shell", ShellSocket),
    (rf"{API_PREFIX}/tunnels", TunnelsHandler),
    (rf"{API_PREFIX}/flavors", FlavorsHandler),
    (rf"{API_PREFIX}/images", ImagesHandler),
    (rf"{API_PREFIX}/quotas", QuotasHandler),
    (rf"{API_PREFIX}/partitions", PartitionsHandler),
    (rf"{API_PREFIX}/partitions/(?P<name>[^/]+)", PartitionHandler),
    (rf"{API_PREFIX}/nodes", NodesHandler),
    (rf"{API_PREFIX}/nodes/(?P<site>[^/]+)/(?P<node>[^/]+)", NodeHandler),
    (rf"{API_PREFIX}/sites", SitesHandler),
    (rf"{API_PREFIX}/offers", OffersHandler),
    (rf"{API_PREFIX}/usage", UsageHandler),
    (rf"{API_PREFIX}/certificates", CertificatesHandler),
    (rf"{API_PREFIX}/certificates/authority", AuthorityHandler),
    (rf"{API_PREFIX}/certificates/(?P<serial>[^/]+)", CertificateHandler),
    (rf"{API_PREFIX}/health", HealthHandler),
    (rf"{API_PREFIX}/version", VersionHandler),
    (rf"{API_PREFIX}/openapi\.json", DocumentHandler),
]
