"""What the API needs of the rest of the core, as interfaces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..model import Job
from ..store import Store
from ..wire import (
    FlavorList,
    FlavorQuery,
    Health,
    ImageView,
    JobRequest,
    NodeView,
    PartitionView,
    QuotaView,
    SiteView,
)


class ServiceError(Exception):
    """A refusal that the caller should read.

    Parameters
    ----------
    message : str
        What was refused, why, and what to do; shown to the caller as it is.
    code : str
        A word for programs.
    status : int
        HTTP status of the answer: 503 for what may work later, 422 for what the request asks.
    field : str, optional
        Path of the request's field that is at fault, such as ``site``.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "unavailable",
        status: int = 503,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.field = field


class JobService(Protocol):
    """The front of the job lifecycle. Any method may raise :class:`ServiceError`."""

    async def submit(self, job_id: str, owner: str, request: JobRequest) -> tuple[Job, bool]:
        """Put a job into the queue; the stored job, and whether it is new.

        Idempotent by ``job_id``. Raises ``store.Tombstoned`` when it was deleted before, and
        ``store.Different`` when the id belongs to another owner or to other content.
        """

    async def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Have a job end, whatever state it is in; returns at once, idempotent.

        None when there is no such job: the id is then remembered as deleted. Raises
        ``store.Different`` when the job is not ``owner``'s; None may end anybody's.
        """

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        """At most ``limit`` bytes of ``stdout``, ``stderr`` or ``boot`` of a job, from ``offset``.

        Empty when there is no more, or nothing yet.
        """


class SiteService(Protocol):
    """What is known of the sites. Any method may raise :class:`ServiceError`."""

    async def flavors(self, query: FlavorQuery) -> FlavorList:
        """A page of the node types on offer. ServiceError 422 for an ``after`` that is none."""

    async def images(self) -> list[ImageView]:
        """The images of all sites."""

    async def quotas(self) -> list[QuotaView]:
        """The limits of the accounts behind all sites."""

    async def nodes(self) -> list[NodeView]:
        """The nodes of all sites, with what is reserved on them."""

    async def sites(self) -> list[SiteView]:
        """The sites and whether their gates answer."""

    async def set_drain(self, site: str, node: str, drained: bool, reason: str) -> NodeView:
        """Stop (or again start) placing jobs on a node. Raises KeyError when it is unknown."""


class PartitionService(Protocol):
    """The nodes that were made for jobs. Any method may raise :class:`ServiceError`."""

    async def partitions(self, owner: str | None) -> list[PartitionView]:
        """Those of an owner (None: of all) that are not known to be gone."""

    async def delete(self, name: str, owner: str | None) -> PartitionView:
        """Have a partition deleted; returns at once, idempotent.

        Raises KeyError when there is none of this name, or not of this owner (None: of anybody),
        and ServiceError 409 while a job that has not ended has it.
        """


class InfoService(Protocol):
    """What the core says of itself."""

    async def health(self) -> Health:
        """Version, identity, uptime and the number of jobs."""


@dataclass(frozen=True)
class Services:
    """All that the API's handlers work with."""

    store: Store
    jobs: JobService
    sites: SiteService
    partitions: PartitionService
    info: InfoService
