"""Logs of the processes under test, shown with every failure while they run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

_logs: dict[str, Path] = {}


@contextlib.contextmanager
def attached(title: str, path: Path) -> Iterator[None]:
    """Show the end of a log with each test that fails meanwhile."""
    _logs[title] = path
    try:
        yield
    finally:
        _logs.pop(title, None)


def tail(path: Path, lines: int = 60) -> str:
    """The last lines of a file; "" when there is none."""
    if not path.exists():
        return ""
    return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])


def sections() -> list[tuple[str, str]]:
    """``(title, text)`` of every attached log."""
    return [(title, tail(path)) for title, path in _logs.items()]
