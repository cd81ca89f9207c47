"""``/tunnels``: the ports that are carried between jobs and the core."""

from __future__ import annotations

from ...wire import TunnelList, TunnelQuery
from ..handler import ApiHandler
from ..operation import operation


class TunnelsHandler(ApiHandler):
    """``GET /tunnels``."""

    @operation("The ports that are carried for jobs", query=TunnelQuery, answers={200: TunnelList})
    async def get(self) -> None:
        """List those of the caller's jobs (an admin: of all, or of ``owner``)."""
        self.query_as(TunnelQuery)
        self.reply(TunnelList(tunnels=self.services.reach.tunnels(self.owner("tunnels"))))
