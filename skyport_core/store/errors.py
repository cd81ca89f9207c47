"""What the store raises."""

from __future__ import annotations


class StoreError(Exception):
    """Base of the store's errors; the message names the thing, the cause and what to do."""


class Conflict(StoreError):
    """The row was changed (or is gone) since the caller read it: read it again and decide anew."""


class Tombstoned(StoreError):
    """The job was deleted before it was submitted; its id is used up."""


class Different(StoreError):
    """The id belongs to a job with another content or another owner."""


class StillNeeded(StoreError):
    """A job that has not ended depends on the one whose record was to go."""


class DatabaseUnusable(StoreError):
    """The database cannot be used as it is: wrong address, wrong schema or a missing driver."""


class WrongSecretKey(DatabaseUnusable):
    """The database was written under another secret key."""
