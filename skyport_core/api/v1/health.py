"""``/health``: whether the core lives, and what it is."""

from __future__ import annotations

from ..handler import ApiHandler


class HealthHandler(ApiHandler):
    """``GET /health``."""

    async def get(self) -> None:
        """Answer with version, identity, uptime and the number of jobs."""
        self.reply(await self.services.info.health())
