"""The core's memory, in SQLite or PostgreSQL."""

from .certificates import ParentRevoked, Standing, TooManyCertificates
from .changes import Changes, Subscription
from .errors import (
    Conflict,
    DatabaseUnusable,
    Different,
    StillNeeded,
    StoreError,
    Tombstoned,
    WrongSecretKey,
)
from .gates import GateMemory
from .records import JobChanges, PartitionChanges
from .schema import upgrade_db
from .store import Store
from .tallies import Tally
from .telling import Told

__all__ = [
    "Changes",
    "Conflict",
    "DatabaseUnusable",
    "Different",
    "GateMemory",
    "JobChanges",
    "ParentRevoked",
    "PartitionChanges",
    "Standing",
    "StillNeeded",
    "Store",
    "StoreError",
    "Subscription",
    "Tally",
    "Told",
    "Tombstoned",
    "TooManyCertificates",
    "WrongSecretKey",
    "upgrade_db",
]
