"""Which folders of this machine a node must be shown, so that all its users can read them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

_SHADOWED = ("/dev", "/proc", "/run", "/sys", "/tmp")  # each node has its own of these


def mounts(paths: Iterable[Path | str]) -> list[str]:
    """What a node must do so that all its users can read these folders: see node_init.sh."""
    opened: dict[str, None] = {}
    bound: dict[str, None] = {}
    root = Path("/").stat().st_dev
    for path in map(os.path.realpath, paths):
        parents = [str(parent) for parent in reversed(Path(path).parents)]
        closed = [parent for parent in parents if not Path(parent).stat().st_mode & 0o001]
        shadowed = path.startswith(tuple(f"{folder}/" for folder in _SHADOWED))
        if closed:
            opened[closed[0]] = None
        if closed or shadowed or Path(path).stat().st_dev != root:
            bound[path] = None
    return [*(f"open {path}\n" for path in opened), *(f"bind {path}\n" for path in bound)]
