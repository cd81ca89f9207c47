"""``/offers``: where a job would go."""

from __future__ import annotations

from ...wire import OfferList, OfferRequest
from ..handler import ApiHandler
from ..operation import operation
from ..rights import owner_of
from ..submitting import completed


class OffersHandler(ApiHandler):
    """``POST /offers``."""

    @operation(
        "Where a job would go, when, and at what price, if it were submitted now",
        body=OfferRequest,
        answers={200: OfferList},
    )
    async def post(self) -> None:
        """Plan a job without submitting it."""
        request = await completed(self.services, self.caller, await self.read(OfferRequest))
        owner = owner_of(self.caller, request)
        self.reply(await self.services.jobs.offers(owner, request, by=self.caller))
