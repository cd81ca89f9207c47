"""Who calls, and what that allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tornado.httputil import HTTPServerRequest

from ..model import Job


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
    """

    name: str
    admin: bool = False
    may_name_owner: bool = False

    def owns(self, job: Job) -> bool:
        """Whether the job is the caller's to see and to touch."""
        return self.admin or job.owner == self.name


Identify = Callable[[HTTPServerRequest], Caller]
"""Finds out who sent a request; raises :class:`~.errors.ApiError` 401 or 403 to refuse it."""
