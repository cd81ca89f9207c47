"""Who calls, and what that allows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from .model import Job
from .pki import Signing


class Credential(Protocol):
    """What a caller came in with, when that may lose its validity while a connection is open."""

    @property
    def key(self) -> str:
        """Tells this credential from others, without giving it away: for the log and for limits."""

    async def valid(self) -> bool:
        """Whether it still lets its holder in; asked about twice a second while it is in use."""


@dataclass(frozen=True)
class Caller:
    """The identity behind a request, as the door that it came through vouches for it.

    Attributes
    ----------
    name
        Owner of the jobs that the caller submits without naming one.
    admin
        May see and touch the jobs of all owners, and drain nodes.
    may_name_owner
        Trusted to submit jobs in the name of others, as the hub does for its users.
    may_write
        May change things; else only look at them.
    trusted
        A part of the same installation, which is not held to any rate: it came in by the socket,
        or acts for all users of a hub.
    peer
        Address that the caller's own machine has for the core, when the door knows it: a job may
        be given a way back there.
    credential
        What it came in with; None: nothing that could be taken back.
    signing
        Which certificates it may have signed; None: none.
    """

    name: str
    admin: bool = False
    may_name_owner: bool = False
    may_write: bool = True
    trusted: bool = False
    peer: str | None = None
    credential: Credential | None = field(default=None, compare=False)
    signing: Signing | None = field(default=None, compare=False)

    def owns(self, job: Job) -> bool:
        """Whether the job is the caller's to see and to touch."""
        return self.admin or job.owner == self.name
