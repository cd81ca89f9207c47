"""What the parts of the store share."""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

from .changes import Changes
from .database import Database
from .errors import StoreError
from .vault import Vault

log = logging.getLogger(__name__)

_Part = TypeVar("_Part", bound="Part")
_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class Part:
    """A part of :class:`~skyport_core.store.Store`: queries over one noun.

    Attributes
    ----------
    under_way : set of Task
        Transactions that have not ended.
    """

    def __init__(self, database: Database, vault: Vault) -> None:
        self.changes = Changes()
        self._database = database
        self._vault = vault
        self.under_way: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Finish what is under way and close all connections."""
        await asyncio.gather(*self.under_way, return_exceptions=True)
        await self._database.close()


def uninterrupted(
    method: Callable[Concatenate[_Part, _Params], Coroutine[Any, Any, _Result]],
) -> Callable[Concatenate[_Part, _Params], Coroutine[Any, Any, _Result]]:
    """Let a method finish although its caller is cancelled.

    A transaction that is cut off between two awaits may keep its connection, and with it SQLite's
    only write lock. So the caller stops waiting, but the transaction goes on to its end.
    """

    @functools.wraps(method)
    async def wrapper(part: _Part, /, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        task = asyncio.ensure_future(method(part, *args, **kwargs))
        part.under_way.add(task)
        task.add_done_callback(part.under_way.discard)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_tell_failure)
            raise

    return wrapper


def _tell_failure(task: asyncio.Task[Any]) -> None:
    """Log what the caller did not wait for; that it came too late is no news."""
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, StoreError):
        log.error("A transaction whose caller was cancelled failed", exc_info=error)


def utcnow() -> dt.datetime:
    """The present, aware, in UTC."""
    return dt.datetime.now(dt.timezone.utc)
