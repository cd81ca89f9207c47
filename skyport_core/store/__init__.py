"""The core's memory, in SQLite or PostgreSQL."""

from .certificates import Standing
from .changes import Changes, Subscription
from .errors import (
    Conflict,
    DatabaseUnusable,
    Different,
    StoreError,
    Tombstoned,
    WrongSecretKey,
)
from .gates import GateMemory
from .records import JobChanges, PartitionChanges
from .schema import upgrade_db
from .store import Store
from .telling import Told

__all__ = [
    "Changes",
    "Conflict",
    "DatabaseUnusable",
    "Different",
    "GateMemory",
    "JobChanges",
    "PartitionChanges",
    "Standing",
    "Store",
    "StoreError",
    "Subscription",
    "Told",
    "Tombstoned",
    "WrongSecretKey",
    "upgrade_db",
]
