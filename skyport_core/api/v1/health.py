"""``/health``: whether the core lives, and what it is."""

from __future__ import annotations

from ...wire import Health
from ..handler import ApiHandler
from ..operation import operation


class HealthHandler(ApiHandler):
    """``GET /health``."""

    @operation("Version, identity, uptime and the number of jobs", answers={200: Health})
    async def get(self) -> None:
        """Answer with version, identity, uptime and the number of jobs."""
        self.reply(await self.services.info.health())
