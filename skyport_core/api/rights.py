"""What a caller may ask a job to be given, beyond what the schema allows."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Mapping
from ipaddress import ip_address
from typing import Protocol

from ..caller import Caller
from .errors import ApiError

ANY_PORT = "*"


class Wish(Protocol):
    """The part of a request that rights are checked of."""

    @property
    def owner(self) -> str | None:
        """Whose job it shall be; None: the caller's."""

    @property
    def username(self) -> str | None:
        """Login on the node; None: the owner's."""

    @property
    def forwards(self) -> Mapping[str, str]:
        """Services near the core that the job shall reach: name to ``host:port``."""


def owner_of(caller: Caller, request: Wish) -> str:
    """Whose job it is. Raises ApiError 403 when the caller may not submit for that owner."""
    owner = request.owner or caller.name
    if owner != caller.name and not caller.may_name_owner:
        message = f"{caller.name} may not submit a job for {owner}."
        raise ApiError(403, "forbidden", message, "owner")
    return owner


def check_username(caller: Caller, request: Wish) -> None:
    """Raises ApiError 403 for the login of somebody else.

    Nodes that know several users let the core in as any of them: a name that the caller chose
    would make it that user there.
    """
    if request.username in (None, caller.name) or caller.may_name_owner:
        return
    message = (
        f"{caller.name} may not log in to nodes as {request.username}; leave username out, or "
        f"give {caller.name}."
    )
    raise ApiError(403, "forbidden", message, "username")


def check_forwards(
    caller: Caller, request: Wish, allowed: Collection[str], peers: bool = True
) -> None:
    """Raises ApiError 403 for a forward to where the caller has no business.

    A forward opens what the core's machine reaches to the job's node: databases that listen on
    its loopback, other users' tunnels. So a caller gets a way to its own machine, unless that is
    the core's too, and to what the admin lists.

    Parameters
    ----------
    caller : Caller
        Those who may name an owner are trusted with any forward.
    request : Wish
        The job.
    allowed : collection of str
        Trait ``allowed_forwards``: ``host:port``, with ``*`` for any port.
    peers : bool
        Trait ``peer_forwards``: whether callers get ways to their own machines.
    """
    if caller.may_name_owner or not request.forwards:
        return
    listed = {_split(place) for place in allowed}
    own = caller.peer if peers and caller.peer and not is_of_this_machine(caller.peer) else None
    for name, place in request.forwards.items():
        host, port = _split(place)
        if own is not None and host == _canonical(own):
            continue
        if listed.isdisjoint({(host, port), (host, ANY_PORT)}):
            message = (
                f"forwards.{name} ({place}): {caller.name} may have "
                f"{_choices(own, allowed)} carried to a node."
            )
            raise ApiError(403, "forbidden", message, f"forwards.{name}")


def check_rights(
    caller: Caller, request: Wish, allowed_forwards: Collection[str], peer_forwards: bool = True
) -> str:
    """All rules at once; the job's owner. Raises ApiError 403."""
    owner = owner_of(caller, request)
    check_username(caller, request)
    check_forwards(caller, request, allowed_forwards, peer_forwards)
    return owner


def is_of_this_machine(address: str) -> bool:
    """Whether an address is one of the machine that the core runs on, or is none that can be told.

    The kernel knows: it gives a socket no address that belongs to another machine.
    """
    host = _canonical(address)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = ip_address(host.partition("%")[0])
        place = socket.getaddrinfo(host, 0, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    except (ValueError, OSError):
        return True
    if found.is_loopback or found.is_unspecified:
        return True
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(place[0][4])
        except OSError as error:
            return error.errno != errno.EADDRNOTAVAIL
    return True


def _choices(own: str | None, allowed: Collection[str]) -> str:
    machine = [f"ports of its own machine {own}"] if own is not None else []
    choices = ", ".join([*machine, *sorted(allowed)])
    return f"only {choices}" if choices else "nothing of the core's surroundings"


def _split(place: str) -> tuple[str, str]:
    """Host and port in one spelling each, so that no other spelling passes for another place."""
    host, _, port = place.rpartition(":")
    return _canonical(host.strip("[]")), port if port == ANY_PORT else str(int(port))


def _canonical(host: str) -> str:
    try:
        address = ip_address(host)
    except ValueError:
        return host.lower().rstrip(".")
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)
