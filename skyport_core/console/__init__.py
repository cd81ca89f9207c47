"""``skyport``: the console terminal."""

from __future__ import annotations

from . import jobs, offers, sites, submit  # noqa: F401 - they add their commands to main
from .command import main

__all__ = ["main"]
