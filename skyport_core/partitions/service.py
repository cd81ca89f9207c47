"""What the API asks of the partitions: list, delete."""

from __future__ import annotations

from ..model import PartitionRecord, PartitionState
from ..service import ServiceError
from ..store import Store
from ..wire import PartitionView
from .reconciler import PartitionReconciler


class Partitions:
    """The front of the partitions, as ``api.services.PartitionService`` describes it."""

    def __init__(self, store: Store, reconciler: PartitionReconciler) -> None:
        self._store = store
        self._reconciler = reconciler

    async def partitions(self, owner: str | None) -> list[PartitionView]:
        """Those of an owner (None: of all) that are not known to be gone."""
        records = await self._store.list_partitions(active=True, owner=owner)
        return [PartitionView.of(record) for record in records]

    async def delete(self, name: str, owner: str | None) -> PartitionView:
        """Have a partition deleted, unless a job has it.

        Raises KeyError for one that does not exist or is not the owner's, and ServiceError 409.
        """
        record = await self._store.get_partition(name)
        if record is None or owner not in (None, record.owner):
            raise KeyError(name)
        if not record.state.final:
            await self._refuse_in_use(record)
            await self._reconciler.remove(name)
        return PartitionView.of(await self._store.get_partition(name) or record)

    async def _refuse_in_use(self, record: PartitionRecord) -> None:
        job = await self._store.get_job(record.job_id)
        if job is None or job.state.final:
            return
        # Wanted awake, it is on its way to a job of which nothing says so yet.
        placing = job.partition is None and record.target is PartitionState.READY
        if placing or job.partition == record.name:
            raise ServiceError(
                f"{record.name} is in use by job {job.id}; cancel that job first.",
                code="in_use",
                status=409,
            )
