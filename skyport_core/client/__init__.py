"""The Python client of the core's REST API, for the spawner, the console and other programs.

:class:`CoreClient` is for programs with an event loop, :class:`Client` for those without one.
"""

from .blocking import Client
from .certificates import new_key, signing_request, write_secretly
from .connections import Exit, Forward, Port, Shell
from .core import CoreClient
from .endpoints import (
    HTTPS_PORT,
    Endpoint,
    HttpsEndpoint,
    HubEndpoint,
    SocketEndpoint,
    default_socket,
)
from .errors import ClientClosed, CoreError, CoreUnavailable, FileTrouble, Untrusted
from .files import Progress
from .streams import LogChunk

__all__ = [
    "HTTPS_PORT",
    "Client",
    "ClientClosed",
    "CoreClient",
    "CoreError",
    "CoreUnavailable",
    "Endpoint",
    "Exit",
    "FileTrouble",
    "Forward",
    "HttpsEndpoint",
    "HubEndpoint",
    "LogChunk",
    "Port",
    "Progress",
    "Shell",
    "SocketEndpoint",
    "Untrusted",
    "default_socket",
    "new_key",
    "signing_request",
    "write_secretly",
]
