"""What the API needs of the rest of the core, as interfaces."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Protocol

from ..caller import Caller
from ..model import Job
from ..pki import Signing
from ..service import OpenFile, Piped
from ..store import Store
from ..wire import (
    CertificateIssued,
    CertificateRequest,
    CertificateView,
    FileList,
    FileView,
    FlavorList,
    FlavorQuery,
    Health,
    ImageView,
    JobPatch,
    JobRequest,
    NodeView,
    OfferList,
    OfferRequest,
    PartitionView,
    QuotaView,
    ShellQuery,
    SiteView,
    TunnelView,
)


class JobService(Protocol):
    """The front of the job lifecycle. Any method may raise :class:`ServiceError`."""

    @property
    def allowed_forwards(self) -> Collection[str]:
        """Places near the core that anybody's jobs may have a forward to."""

    @property
    def peer_forwards(self) -> bool:
        """Whether jobs may have forwards to the machines that they were submitted from."""

    @property
    def site_names(self) -> Collection[str]:
        """The sites of this core."""

    @property
    def has_accounts(self) -> bool:
        """Whether the core has accounts of its own; else each site is one."""

    def account_of(self, site: str, by: Caller) -> str | None:
        """An account that a caller's jobs at a site can be charged to; None: there is none."""

    async def submit(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        *,
        submitted: JobRequest | None = None,
        by: Caller | None = None,
        note: str = "",
    ) -> tuple[Job, bool]:
        """Put a job into the queue; the stored job, and whether it is new.

        Idempotent by ``job_id``; a repetition is recognised by ``submitted`` (None: ``request``).
        Limits for users do not hold for ``by`` None, the core itself. Its first event has ``note``
        as its hint. Raises ``store.Tombstoned``
        when it was deleted before, and ``store.Different`` when the id belongs to another owner
        or to other content.
        """

    async def change(self, job: Job, change: JobPatch, *, by: Caller | None = None) -> Job:
        """Change a job as far as it can be; ServiceError 409 where it cannot.

        Raises ``store.Conflict`` when the job is not as it was read any more; so do ``requeue``
        and ``remove``.
        """

    async def requeue(self, job: Job) -> Job:
        """Have a job start over, whether it runs or has ended; ServiceError 409 if it cannot."""

    async def remove(self, job: Job) -> None:
        """Forget a job that has ended, with its files; ServiceError 409 before that."""

    async def offers(
        self, owner: str, request: OfferRequest, *, by: Caller | None = None
    ) -> OfferList:
        """Where a job would go if it were submitted now. Nothing is stored."""

    async def cancel(self, job_id: str, owner: str | None) -> Job | None:
        """Have a job end, whatever state it is in; returns at once, idempotent.

        None when there is no such job: the id is then remembered as deleted. Raises
        ``store.Different`` when the job is not ``owner``'s; None may end anybody's.
        """

    async def cancel_array(self, array_id: str, owner: str | None) -> bool:
        """Have all jobs of an array end, at once or not at all; idempotent.

        False when ``owner`` (None: anybody) has no job of such an array.
        """

    async def log(self, job: Job, stream: str, offset: int, limit: int | None) -> bytes:
        """At most ``limit`` bytes of ``stdout``, ``stderr`` or ``boot`` of a job, from ``offset``.

        Empty when there is no more, or nothing yet.
        """


class InputUpload(Protocol):
    """A file on its way in; nothing of it can be seen before it is finished."""

    async def write(self, data: bytes) -> None:
        """Take in more; returns once there is room for what comes next. ServiceError 413, 507."""

    async def finish(self, digest: bytes | None = None) -> tuple[FileView, bool]:
        """Put it into its place; the file, and whether it is new there.

        Raises ServiceError 409 when its job does not wait any more, and 422 when the SHA-256
        ``digest`` is that of other bytes.
        """

    async def abort(self) -> None:
        """Drop it; nothing happens once it has ended."""


class FileService(Protocol):
    """The files of jobs at the core. Any method may raise :class:`ServiceError`."""

    @property
    def max_input(self) -> int:
        """Bytes that all inputs of a job may have together."""

    async def files(self, job: Job) -> FileList:
        """What was uploaded for a job and what it brought home."""

    async def upload(self, job: Job, path: str, mode: int, size: int | None) -> InputUpload:
        """Begin to take in an input of ``size`` bytes (None: not known) with permissions ``mode``.

        Raises ServiceError 404, 409 or 413.
        """

    async def remove_input(self, job: Job, path: str) -> None:
        """Remove an input, which the job then waits for; ServiceError 404 or 409."""

    async def open_input(self, job: Job, path: str) -> OpenFile:
        """An input; ServiceError 404 if it is not there."""

    async def open_output(self, job: Job, path: str) -> OpenFile:
        """A file that came home; ServiceError 404 if it is not there."""


class FollowService(Protocol):
    """What jobs write, as they write it."""

    def follow(self, job: Job, stream: str, offset: int) -> AsyncGenerator[bytes, None]:
        """The bytes of ``stdout``, ``stderr`` or ``boot`` from ``offset`` on, until the job ended.

        A job that goes back to the queue writes anew: its next attempt follows from its first byte.
        """


class ReachService(Protocol):
    """Ways to the nodes of running jobs. Any method may raise :class:`ServiceError`."""

    async def shell(self, job: Job, query: ShellQuery) -> Piped:
        """A terminal, or a command, on the job's node as its login."""

    async def port(self, job: Job, port: int) -> Piped:
        """A TCP connection to a port of the job's node."""

    def tunnels(self, owner: str | None) -> list[TunnelView]:
        """The ports that are carried for an owner's jobs (None: for all)."""


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


class CertificateService(Protocol):
    """The core's authority. Any method may raise :class:`ServiceError`."""

    @property
    def authority(self) -> str:
        """The authority's certificate, PEM."""

    def look_again(self) -> None:
        """Ask the database what was revoked, before the next answer about any certificate."""

    async def certificates(self, owner: str | None) -> list[CertificateView]:
        """Those of a user (None: all of everybody), the newest first."""

    async def sign(
        self, own: str, request: CertificateRequest, signing: Signing
    ) -> CertificateIssued:
        """A certificate for what the request names, else for the caller, whose name is ``own``.

        Raises ServiceError 403, 409 or 422 for what the right of ``signing`` does not cover.
        """

    async def revoke(self, serial: str, owner: str | None, reason: str) -> CertificateView | None:
        """Accept a certificate no longer, nor those that were asked for with it.

        None if ``owner`` (None: anybody) has none such.
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
    files: FileService
    logs: FollowService
    reach: ReachService
    certificates: CertificateService
