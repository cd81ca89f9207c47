"""The core's REST API: its doors and, in ``v1``, its resources."""

from .application import make_application
from .doors import DoorError, UnixDoor, unix_door
from .services import InfoService, JobService, ServiceError, Services, SiteService

__all__ = [
    "DoorError",
    "InfoService",
    "JobService",
    "ServiceError",
    "Services",
    "SiteService",
    "UnixDoor",
    "make_application",
    "unix_door",
]
