"""What the parts of the store share."""

from __future__ import annotations

import datetime as dt

from .changes import Changes
from .database import Database
from .vault import Vault


class Part:
    """A part of :class:`~skyport_core.store.Store`: queries over one noun."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self.changes = Changes()
        self._database = database
        self._vault = vault


def utcnow() -> dt.datetime:
    """The present, aware, in UTC."""
    return dt.datetime.now(dt.timezone.utc)
