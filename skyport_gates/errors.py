"""What a gate may raise."""

from __future__ import annotations

from dataclasses import dataclass


class GateError(Exception):
    """Base of all that a gate may raise.

    Parameters
    ----------
    message : str
        What happened, in words a user may see.
    hint : str
        What the user or the admin can do next.

    The technical cause is chained with ``raise … from cause``; it goes to the log only.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Scope:
    """Which offers of a site an error speaks of; None stands for all.

    ``flavors`` are names; ``zone`` is one of ``region``.
    """

    flavors: frozenset[str] | None = None
    region: str | None = None
    zone: str | None = None
    spot: bool | None = None


class Shortage(GateError):
    """What was asked for cannot be had now; another offer should be tried.

    Parameters
    ----------
    scope : Scope, optional
        The offers that cannot be had either; None: only the one that was asked for.
    retry_after : float, optional
        Seconds after which it is worth another try; None: the core's own time.
    """

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        scope: Scope | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.scope = scope
        self.retry_after = retry_after


class NoCapacity(Shortage):
    """The site has none of this flavor left now."""


class QuotaExceeded(Shortage):
    """The account's quota does not allow it."""


class Preempted(GateError):
    """The site took the partition back before its end, as it may with spot nodes."""


class Throttled(GateError):
    """The site asks to slow down; ``retry_after`` is in seconds."""

    def __init__(self, message: str, *, retry_after: float = 30.0, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after = retry_after


class NotAuthorized(GateError):
    """The gate's credential is missing, expired or lacks a right; an admin must act."""


class ConfigurationError(GateError):
    """The gate's own configuration cannot work; an admin must change it."""


class InvalidRequest(GateError):
    """The request can never work as it is; trying again is useless."""


class PartitionNotFound(GateError):
    """There is no such partition at the site (any more)."""


class GateUnavailable(GateError):
    """The site does not answer now; trying again later may work."""
