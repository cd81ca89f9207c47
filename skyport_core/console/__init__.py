"""``skyport``: the console terminal."""

from __future__ import annotations

from . import (  # noqa: F401 - they add their commands to main
    certs,
    context,
    core,
    files,
    flavors,
    forward,
    jobs,
    logs,
    offers,
    partitions,
    run,
    shell,
    sites,
    submit,
    usage,
)
from .command import main

__all__ = ["main"]
