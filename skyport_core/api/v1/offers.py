"""``/offers``: where a job would go."""

from __future__ import annotations

from ...wire import OfferList, OfferRequest
from ..handler import ApiHandler
from ..operation import operation
from ..rights import owner_of
from ..submitting import lines_named, understood


class OffersHandler(ApiHandler):
    """``POST /offers``."""

    @operation(
        "Where a job would go, when, and at what price, if it were submitted now",
        body=OfferRequest,
        answers={200: OfferList},
    )
    async def post(self) -> None:
        """Plan a job without submitting it."""
        whole = await understood(self.services, self.caller, await self.read(OfferRequest))
        with lines_named(whole):
            owner = owner_of(self.caller, whole.request)
            found = await self.services.jobs.offers(owner, whole.request, by=self.caller)
        self.reply(found)
