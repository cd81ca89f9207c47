"""The core's REST API: its doors and, in ``v1``, its resources."""

from .application import make_application
from .doors import DoorError, HubDoor, HubOptions, UnixDoor, unix_door
from .limits import Limits, Rates
from .services import InfoService, JobService, Services, SiteService

__all__ = [
    "DoorError",
    "HubDoor",
    "HubOptions",
    "InfoService",
    "JobService",
    "Limits",
    "Rates",
    "Services",
    "SiteService",
    "UnixDoor",
    "make_application",
    "unix_door",
]
