"""``/partitions`` and ``/partitions/{name}``: nodes that were made for jobs."""

from __future__ import annotations

from ...wire import PartitionList
from ..errors import ApiError
from ..handler import ApiHandler


class PartitionsHandler(ApiHandler):
    """``GET /partitions``."""

    async def get(self) -> None:
        """List the caller's partitions (an admin: all, or those of ``owner``), oldest first."""
        views = await self.services.partitions.partitions(self.owner("partitions"))
        self.reply(PartitionList(partitions=views))


class PartitionHandler(ApiHandler):
    """``DELETE /partitions/{name}``."""

    async def delete(self, name: str) -> None:
        """Have a partition deleted: 202 and the partition; 409 while a job has it."""
        owner = None if self.caller.admin else self.caller.name
        try:
            view = await self.services.partitions.delete(name, owner)
        except KeyError:
            message = f"There is no partition {name}."
            raise ApiError(404, "partition_not_found", message) from None
        self.reply(view, 202)
