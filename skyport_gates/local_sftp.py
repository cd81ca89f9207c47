"""Files that a login to the local SSH server reaches by SFTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import stat
from typing import TYPE_CHECKING, cast

import asyncssh

if TYPE_CHECKING:
    from asyncssh.channel import SSHChannel

    from .local_session import Homes

_OPEN_FLAGS = {
    asyncssh.FXF_APPEND: os.O_APPEND,
    asyncssh.FXF_CREAT: os.O_CREAT,
    asyncssh.FXF_TRUNC: os.O_TRUNC,
    asyncssh.FXF_EXCL: os.O_EXCL,
}


class FileSession(asyncssh.SFTPServer):
    """SFTP as the server's own account; relative paths start in the login's home."""

    def __init__(self, chan: SSHChannel[bytes], homes: Homes) -> None:
        super().__init__(cast("asyncssh.SSHServerChannel[bytes]", chan))
        username = chan.get_connection().get_extra_info("username")
        self._home = os.fsencode(homes.open(username))

    def map_path(self, path: bytes) -> bytes:
        """The path on disk for a path of the client."""
        return os.path.join(self._home, path)  # noqa: PTH118 - bytes have no pathlib

    async def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        """Open a regular file; what else there is could hold up the logins of all others."""
        mode = 0o666 if attrs.permissions is None else attrs.permissions & 0o777
        return await asyncio.to_thread(_open_regular, self.map_path(path), pflags, mode)


def _open_regular(path: bytes, pflags: int, mode: int) -> io.FileIO:
    """A file for the flags of SFTP's open request, unbuffered. SFTPFailure if it is no file."""
    with contextlib.suppress(FileNotFoundError):
        _check_regular(os.stat(path))  # noqa: PTH116 - bytes have no pathlib
    reading, writing = bool(pflags & asyncssh.FXF_READ), bool(pflags & asyncssh.FXF_WRITE)
    flags = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    flags |= os.O_WRONLY if writing and not reading else os.O_RDWR if writing else os.O_RDONLY
    for told, flag in _OPEN_FLAGS.items():
        flags |= flag if pflags & told else 0
    descriptor = os.open(path, flags, mode)
    try:
        # Another may have come into its place meanwhile.
        _check_regular(os.fstat(descriptor))
        kind = "rb" if not writing else "rb+" if reading else "wb"
        return io.FileIO(descriptor, kind)
    except BaseException:
        os.close(descriptor)
        raise


def _check_regular(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise asyncssh.SFTPFailure("only regular files can be opened")
