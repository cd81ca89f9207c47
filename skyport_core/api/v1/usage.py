"""``/usage``: what jobs used and cost."""

from __future__ import annotations

import asyncio
import datetime as dt

from ...usage import days_of, end_of, midnight, summary
from ...wire import UsageList, UsageQuery
from ..errors import ApiError
from ..handler import ApiHandler
from ..operation import operation

MANY = 2000
"""Intervals from which on they are added up in a thread."""


class UsageHandler(ApiHandler):
    """``GET /usage``."""

    @operation("What jobs used and cost", query=UsageQuery, answers={200: UsageList})
    async def get(self) -> None:
        """Add up what the caller's jobs (an admin: all) used, in whole days of UTC."""
        query = self.query_as(UsageQuery)
        now = dt.datetime.now(dt.timezone.utc)
        try:
            since, until = days_of(query, now.date())
        except ValueError as error:
            message = f"until ({query.until or now.date()}): {error}"
            raise ApiError(422, "invalid", message, "until") from None
        intervals = await self.services.store.usage(
            midnight(since),
            end_of(until),
            owner=self.owner("usage"),
            account=query.account,
            site=query.site,
        )
        if len(intervals) < MANY:
            self.reply(summary(intervals, query, now))
        else:
            self.reply(await asyncio.to_thread(summary, intervals, query, now))
