"""What goes wrong with partitions: the words for it, and the offers not to be used for a while."""

from __future__ import annotations

from skyport_gates.gate import (
    ConfigurationError,
    GateError,
    InvalidRequest,
    NotAuthorized,
    Preempted,
    QuotaExceeded,
    Scope,
    Shortage,
)

from ..model import PartitionRecord
from ..scheduling.plan import offer_key
from ..sites import Sites

REFUSALS = (Shortage, NotAuthorized, ConfigurationError, InvalidRequest)
"""Errors of a creation after which the job must be placed elsewhere."""

SITE_FAULTS = (NotAuthorized, ConfigurationError)
"""Errors that concern all that a site offers, until an admin acts."""

BLAMELESS = frozenset({"no_capacity", "quota", "preempted", "not_authorized", "misconfigured"})
"""Reasons that say nothing against the job: its next place is not counted as another attempt."""


def reason_of(error: GateError, otherwise: str) -> str:
    """The word for programs that an error means."""
    words: tuple[tuple[type[GateError], str], ...] = (
        (QuotaExceeded, "quota"),
        (Shortage, "no_capacity"),
        (Preempted, "preempted"),
        (NotAuthorized, "not_authorized"),
        (ConfigurationError, "misconfigured"),
        (InvalidRequest, "invalid"),
    )
    return next((word for kind, word in words if isinstance(error, kind)), otherwise)


def offer_of(record: PartitionRecord) -> Scope:
    """The offer that a partition was made from."""
    return Scope(
        flavors=frozenset({record.flavor}),
        region=record.region or None,
        zone=record.zone or None,
        spot=record.spot,
    )


def key_of(record: PartitionRecord) -> str:
    """The name of that offer in a job's ``excluded``."""
    return offer_key(record.site, record.flavor, record.region, record.zone, record.spot)


def block_for(sites: Sites, record: PartitionRecord, why: str, seconds: float) -> None:
    """Have the offer that a partition was made from left out for a while."""
    sites.block(record.site, offer_of(record), why, seconds)


def block(sites: Sites, record: PartitionRecord, error: GateError) -> None:
    """Have the offers that an error speaks of left out for a while; others are not touched."""
    if isinstance(error, Shortage):
        scope = error.scope or offer_of(record)
        sites.block(record.site, scope, error.message, error.retry_after)
    elif isinstance(error, Preempted):
        sites.block(record.site, offer_of(record), error.message)
    elif isinstance(error, SITE_FAULTS):
        sites.block(record.site, Scope(), f"{error.message} {error.hint}".strip())
