"""Files of keys and certificates: whole or absent, whatever happens while they are written."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_DRAFT = ".draft"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Be the only one that makes files in a folder; what a killed process left there goes."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        for draft in folder.glob(f".*{_DRAFT}"):
            draft.unlink()
        yield
    finally:
        os.close(descriptor)


def replace(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file at once, in the place of what is there; it survives a loss of power."""
    draft = path.with_name(f".{path.name}{_DRAFT}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
