"""The ways into the core: a module a door."""

from .unix import DoorError, PeerIdentity, UnixDoor, unix_door

__all__ = ["DoorError", "PeerIdentity", "UnixDoor", "unix_door"]
