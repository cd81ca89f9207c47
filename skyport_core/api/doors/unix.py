"""The Unix socket through which the hub and the admin of the same machine come in."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import logging
import os
import pwd
import socket
import stat
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.web import Application

from ...caller import Caller
from ...model import BY_SOCKET
from ...pki import Signing
from ..errors import ApiError
from .server import MAX_DRAIN, DoorError, DoorServer, close_server

MAX_PATH = 107
"""Bytes that Linux leaves for the path of a socket (``sun_path`` less its closing zero)."""

_CREDENTIALS = struct.Struct("3i")  # struct ucred of <sys/socket.h>: pid, uid, gid

log = logging.getLogger("skyport.api")


class PeerIdentity:
    """Knows the caller by what the kernel says of the other end of the socket (SO_PEERCRED).

    Parameters
    ----------
    allowed_uids : collection of int
        Users that may call besides root and the core's own user. All are trusted: they are
        admins and may submit jobs in the name of others. Certificates of admins and hubs, which
        would let them stay when they are not allowed any more, are not for them.
    """

    def __init__(self, allowed_uids: Collection[int] = ()) -> None:
        self._allowed = frozenset({0, os.geteuid(), *allowed_uids})

    async def __call__(self, request: HTTPServerRequest) -> Caller:
        """The caller. Raises ApiError 403 for a user who may not come in."""
        uid = _peer_uid(request)
        if uid not in self._allowed:
            log.warning("Refused a request of user %s at the socket", _user_name(uid))
            message = (
                f"User {_user_name(uid)} may not use this socket; "
                "the allowed_users of the core's configuration may."
            )
            raise ApiError(403, "forbidden", message)
        return Caller(
            name=_user_name(uid),
            admin=True,
            may_name_owner=True,
            trusted=True,
            signing=Signing() if uid in (0, os.geteuid()) else Signing(BY_SOCKET, others=True),
        )


class UnixDoor:
    """A socket that is being served. Made by :func:`unix_door`."""

    def __init__(
        self, server: HTTPServer, application: Application, path: Path, inode: int
    ) -> None:
        self._server = server
        self._application = application
        self._inode = inode
        self.path = path

    async def close(self) -> None:
        """Stop serving, end what is open and remove the socket. Idempotent.

        On return no handler works any more, so that what it works with can be closed.
        """
        with contextlib.suppress(FileNotFoundError):
            # Another core may have taken the path over, if this one's socket was removed by hand.
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()
        await close_server(self._server, self._application)


async def unix_door(
    application: Application, path: str | os.PathLike[str], *, allowed_uids: Collection[int] = ()
) -> UnixDoor:
    """Serve the API on a Unix socket.

    The socket is for its owner alone (0600) unless ``allowed_uids`` names others: then the
    file's mode lets everybody connect, and who really may is decided by the peer's credentials.
    The socket of a core that died is replaced, that of a living one never.

    Parameters
    ----------
    application : Application
        Made by :func:`~..application.make_application`, and served by this door only.
    path : path
        Where the socket is made; its folder is made too if missing (0700, or 0711 when others
        may come in).
    allowed_uids : collection of int
        Users that may call besides root and the core's own user.

    Raises
    ------
    DoorError
        The path is too long, in an unsafe folder, not a socket, or served by another core.
    """
    path = Path(path)
    application.settings["identify"] = PeerIdentity(allowed_uids)
    listener = _listen(path, for_others=bool(set(allowed_uids) - {0, os.geteuid()}))
    server = DoorServer(application, max_body_size=MAX_DRAIN)
    server.add_socket(listener)
    return UnixDoor(server, application, path, path.stat().st_ino)


def _listen(path: Path, for_others: bool) -> socket.socket:
    length = len(os.fsencode(path))
    if length > MAX_PATH:
        raise DoorError(
            f"The socket's path {path} is {length} bytes long; a Unix socket takes at most "
            f"{MAX_PATH}. Set SKYPORT_HOME to a folder with a shorter path."
        )
    folder = path.parent
    folder.mkdir(mode=0o711 if for_others else 0o700, parents=True, exist_ok=True)
    _check_folder(folder)
    with _locked(folder):
        _remove_stale(path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.setblocking(False)
            mode = 0o666 if for_others else 0o600
            # Linux gives the new file the mode of the unbound socket: it is never open wider.
            os.fchmod(listener.fileno(), mode)
            listener.bind(str(path))
            path.chmod(mode)
            listener.listen(1024)
        except OSError as error:
            listener.close()
            raise DoorError(f"Cannot make the socket {path}: {error.strerror}.") from error
    return listener


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which somebody else could put a socket in the place of ours."""
    status = folder.stat()
    if status.st_uid not in (0, os.geteuid()):
        owner = _user_name(status.st_uid)
        raise DoorError(f"The socket's folder {folder} belongs to {owner}; use one of your own.")
    others_write = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if others_write and not status.st_mode & stat.S_ISVTX:
        raise DoorError(
            f"Others may write to the socket's folder {folder}: run 'chmod go-w {folder}'."
        )


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep two cores that start at once from replacing each other's socket."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise DoorError(f"Another core is starting in {folder} right now.") from None
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise DoorError(f"{path} exists and is not a socket; move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        answer = probe.connect_ex(str(path))
    # Only a refusal proves that nobody listens; a living core that is busy gives EAGAIN.
    if answer != errno.ECONNREFUSED:
        raise DoorError(
            f"Another core serves {path}. Stop it first, "
            "or give this core a SKYPORT_HOME of its own."
        )
    path.unlink()


def _peer_uid(request: HTTPServerRequest) -> int:
    connection = request.connection
    if not isinstance(connection, HTTP1Connection) or connection.stream.socket is None:
        raise ApiError(403, "forbidden", "The connection was closed before its user was known.")
    raw = connection.stream.socket.getsockopt(
        socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size
    )
    _, uid, _ = _CREDENTIALS.unpack(raw)
    return int(uid)


@functools.lru_cache(maxsize=256)  # a directory service behind it may be slow
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
