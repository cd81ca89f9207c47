"""The wire protocol of the original Sky Port, as its published clients speak it."""

from __future__ import annotations

from .catalog import (
    FlavorsHandler,
    ImagesHandler,
    NodesHandler,
    RemotesHandler,
    VersionHandler,
)
from .handler import OriginalHandler, Unknown
from .jobs import JobHandler, JobsHandler, LogHandler

ROUTES: list[tuple[str, type[OriginalHandler]]] = [
    (r"/user", VersionHandler),
    (r"/user/flavor", FlavorsHandler),
    (r"/user/image", ImagesHandler),
    (r"/user/node", NodesHandler),
    (r"/user/remote", RemotesHandler),
    (r"/user/job", JobsHandler),
    (r"/user/job/([^/]+)", JobHandler),
    (r"/user/job/([^/]+)/(stdout|stderr)", LogHandler),
    (r"/user/.*", Unknown),
]

__all__ = ["ROUTES"]
