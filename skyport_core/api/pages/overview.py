"""The first page of a door."""

from __future__ import annotations

from ... import __version__
from ..operation import operation
from .handler import PageHandler


class OverviewPage(PageHandler):
    """``GET /``."""

    @operation("What is here", answers={200: "text/html"})
    async def get(self) -> None:
        """Say what this is, which version, and where to go on."""
        self.finish(self.rendered("overview.html", caller=self.caller, version=__version__))
