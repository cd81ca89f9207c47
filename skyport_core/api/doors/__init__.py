"""The ways into the core: a module a door."""

from .hub import HubDoor, HubIdentity, HubOptions, hub_door, hub_sockets
from .server import Caps, DoorError
from .tls import HttpsOptions, TlsDoor, tls_door
from .unix import PeerIdentity, UnixDoor, unix_door

__all__ = [
    "Caps",
    "DoorError",
    "HttpsOptions",
    "HubDoor",
    "HubIdentity",
    "HubOptions",
    "PeerIdentity",
    "TlsDoor",
    "UnixDoor",
    "hub_door",
    "hub_sockets",
    "tls_door",
    "unix_door",
]
