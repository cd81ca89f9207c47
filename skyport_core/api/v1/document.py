"""``/version`` and ``/openapi.json``: what this API is."""

from __future__ import annotations

from ... import __version__
from ...wire import Version
from ..handler import ApiHandler
from ..openapi import openapi
from ..operation import operation


class VersionHandler(ApiHandler):
    """``GET /version``."""

    @operation("Versions of the program and of its API", answers={200: Version})
    async def get(self) -> None:
        """Answer with the versions."""
        self.reply(Version(version=__version__, api=["v1"]))


class DocumentHandler(ApiHandler):
    """``GET /openapi.json``."""

    @operation("This document", answers={200: "application/json"}, etag=True)
    async def get(self) -> None:
        """Answer with the OpenAPI document, in which the paths are those of this door."""
        server = self.request.path.removesuffix("/openapi.json")
        schemes: tuple[str, ...] = getattr(self.settings["identify"], "schemes", ())
        text, version = openapi().text(server, schemes)
        self.tag(version)
        self.finish(text)
