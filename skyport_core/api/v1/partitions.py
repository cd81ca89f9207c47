"""``/partitions`` and ``/partitions/{name}``: nodes that were made for jobs."""

from __future__ import annotations

from ...wire import PartitionList, PartitionQuery, PartitionView
from ..errors import SHOWN_LENGTH, ApiError, checked_name
from ..handler import ApiHandler
from ..operation import operation


class PartitionsHandler(ApiHandler):
    """``GET /partitions``."""

    @operation(
        "The nodes that were made for jobs, sleeping ones too, the oldest first",
        query=PartitionQuery,
        answers={200: PartitionList},
    )
    async def get(self) -> None:
        """List the caller's partitions (an admin: all, or those of ``owner``), oldest first."""
        self.query_as(PartitionQuery)
        views = await self.services.partitions.partitions(self.owner("partitions"))
        self.reply(PartitionList(partitions=views))


class PartitionHandler(ApiHandler):
    """``DELETE /partitions/{name}``."""

    @operation("Have nodes deleted that are kept", answers={202: PartitionView}, errors=(409,))
    async def delete(self, name: str) -> None:
        """Have a partition deleted: 202 and the partition; 409 while a job has it."""
        owner = None if self.caller.admin else self.caller.name
        try:
            view = await self.services.partitions.delete(checked_name(name), owner)
        except KeyError:
            message = f"There is no partition {name[:SHOWN_LENGTH]}."
            raise ApiError(404, "partition_not_found", message) from None
        self.reply(view, 202)
