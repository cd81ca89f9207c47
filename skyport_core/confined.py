"""Files below a folder, whose names come from outside: no name and no link leads out of it.

Every part of a name is opened from the folder above it and never through a link, so that it does
not matter what else changes below the folder meanwhile.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO that was planted there must not hold up who opens it.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_DRAFT = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for their owner only."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


def open_draft(path: Path) -> BinaryIO:
    """A new file for its owner only, to write, in the place of what was left there.

    The folders above it are made.
    """
    make_private(path.parent)
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, _DRAFT, 0o600), "wb")


def open_file(root: Path, name: str) -> int:
    """A descriptor of the regular file ``name`` below ``root``, to read; the caller closes it.

    Raises
    ------
    FileNotFoundError
        There is no such file, it is no regular one, or a part of its name is a link.
    """
    try:
        with _parent(root, name, make=False) as (folder, last):
            descriptor = os.open(last, _FILE, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise FileNotFoundError(name) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileNotFoundError(name)
    return descriptor


def find_file(root: Path, name: str) -> os.stat_result | None:
    """What is known of the regular file ``name`` below ``root``; None if there is none."""
    try:
        descriptor = open_file(root, name)
    except FileNotFoundError:
        return None
    try:
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


def move_in(draft: Path, root: Path, name: str) -> None:
    """Give the file ``draft`` the place ``name`` below ``root``, in one step; folders are made.

    Raises
    ------
    OSError
        A part of the name is too long, a link, or a file; or what is there is a folder.
    """
    with _parent(root, name, make=True) as (folder, last):
        os.rename(draft, last, dst_dir_fd=folder)


def move_out(root: Path, name: str, draft: Path) -> bool:
    """Undo :func:`move_in`; False when nothing was there. Folders that are empty by it go."""
    try:
        with _parent(root, name, make=False) as (folder, last):
            os.rename(last, draft, src_dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    _remove_empty(root, name)
    return True


def remove_file(root: Path, name: str) -> None:
    """Remove ``name`` below ``root``, and folders that are empty by that; nothing there is fine."""
    with suppress(FileNotFoundError, NotADirectoryError):
        with _parent(root, name, make=False) as (folder, last):
            os.unlink(last, dir_fd=folder)
        _remove_empty(root, name)


def _remove_empty(root: Path, name: str) -> None:
    above = (root / name).parent
    while above != root:
        try:
            above.rmdir()
        except OSError:
            return
        above = above.parent


def walk_files(root: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The regular files below ``root`` with their relative names, sorted; links are left out."""
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            with suppress(FileNotFoundError):
                found = path.lstat()
                if stat.S_ISREG(found.st_mode):
                    yield path.relative_to(root).as_posix(), found


@contextmanager
def _parent(root: Path, name: str, *, make: bool) -> Iterator[tuple[int, str]]:
    """A descriptor of the folder that holds ``name``, and the last part of the name."""
    *parents, last = name.split("/")
    if any(part in ("", ".", "..") for part in (*parents, last)):
        raise FileNotFoundError(name)
    if make:
        make_private(root)
    folder = os.open(root, _FOLDER)
    try:
        for part in parents:
            if make:
                with suppress(FileExistsError):
                    os.mkdir(part, 0o700, dir_fd=folder)
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        yield folder, last
    finally:
        os.close(folder)
