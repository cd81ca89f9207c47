"""Why a job waits, in words for its user."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Collection

from .inventory import Fit, Inventory
from .offers import Conditions, Trouble
from .plan import Impossible, Offer, PendingJob
from .refusals import Refusals
from .words import name_of, place_of, wish

MENTIONED = 3
"""How many nodes, offers or reasons a sentence names before it only counts the rest."""


class Explainer:
    """Tells what to say about the jobs that one plan did not place.

    Parameters
    ----------
    inventory : Inventory
        What there is.
    unknown_sites : collection of str
        Sites of which it is not known yet what they have.
    now : datetime
        The present.
    """

    def __init__(
        self, inventory: Inventory, unknown_sites: Collection[str], now: dt.datetime
    ) -> None:
        self._conditions = inventory.conditions
        self._now = now
        self._unknown_sites = sorted(unknown_sites)
        self._refusals = Refusals(inventory)
        # Thousands of jobs may wait for the same thousand nodes to come up.
        self._troubles: dict[int, str] = {}

    def waiting(self, job: PendingJob, fit: Fit, *, ahead: int) -> str:
        """Why a job that may run some day does not run now; ``ahead`` jobs wait before it."""
        text = f"Waiting for {wish(job)}"
        trouble = self._trouble(job, fit)
        if trouble:
            return f"{text}: {trouble}"
        if ahead == 0:
            return f"{text}: running jobs use them"
        return f"{text}: {'1 job is' if ahead == 1 else f'{ahead} jobs are'} ahead"

    def impossible(self, job: PendingJob, fit: Fit) -> Impossible | None:
        """Why a job can never run, or None when it may run some day."""
        return None if self._unknown(job) else self._refusals.find(job, fit)

    def _unknown(self, job: PendingJob) -> list[str]:
        return [
            site
            for site in self._unknown_sites
            if job.site in (None, site) and (job.sites is None or site in job.sites)
        ]

    def _trouble(self, job: PendingJob, fit: Fit) -> str:
        """What keeps every place from being used, whoever is ahead; "" if one is up."""
        if job.excluded:
            return self._find_trouble(job, fit)
        known = self._troubles.get(id(fit))
        if known is None:
            known = self._troubles[id(fit)] = self._find_trouble(job, fit)
        return known

    def _find_trouble(self, job: PendingJob, fit: Fit) -> str:
        troubles = []
        for pool in fit.pools:
            for seat in pool.seats:
                if seat.key in job.excluded:
                    troubles.append(f"{seat.node.name} failed the job: {job.excluded[seat.key]}")
                elif seat.node.available:
                    return ""
                else:
                    troubles.append(seat.node.reason or f"{seat.node.name} is not available")
        troubles = _some(troubles) + self._offer_troubles(job, fit)
        unknown = self._unknown(job)
        troubles += _some([f"the nodes of site {site} are not known yet" for site in unknown])
        return "; ".join(troubles)

    def _offer_troubles(self, job: PendingJob, fit: Fit) -> list[str]:
        sites = [
            f"site {site} cannot be used now: {self._conditions.closed[site].reason}"
            for site in fit.closed_sites(job)
        ]
        offers = _OfferTroubles(self._now)
        for offer in fit.open_offers(job):
            failed = job.excluded.get(offer.key) if job.excluded else None
            offers.add(offer, failed, self._conditions)
        return sites + offers.sentences()


class _OfferTroubles:
    """Gathers why offers cannot be used: a few one by one, hundreds by their reasons."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now
        self._count = 0
        self._first: list[str] = []
        self._reasons: Counter[str] = Counter()
        self._until: dt.datetime | None = None

    def add(self, offer: Offer, failed: str | None, conditions: Conditions) -> None:
        """Take in an offer; ``failed`` says how it failed the job, if it did."""
        trouble = None if failed is not None else conditions.trouble(offer)
        self._count += 1
        if failed is not None:
            self._reasons[f"they failed the job: {failed}"] += 1
        else:
            trouble = trouble or Trouble("")
            self._reasons[trouble.reason or "not available"] += 1
            if trouble.until is not None:
                self._until = min(trouble.until, self._until or trouble.until)
        if self._count <= MENTIONED:
            self._first.append(self._sentence(offer, failed, trouble))

    def _sentence(self, offer: Offer, failed: str | None, trouble: Trouble | None) -> str:
        name = f"{name_of(offer)}{place_of(offer)} at site {offer.site}"
        if failed is not None:
            return f"{name} failed the job: {failed}"
        reason = f": {trouble.reason}" if trouble and trouble.reason else ""
        again = self._again("it", trouble.until if trouble else None)
        return f"{name} is not available now{reason}{again}"

    def sentences(self) -> list[str]:
        """What to say of them all."""
        if self._count <= MENTIONED:
            return self._first
        reasons = [f"{reason} ({count})" for reason, count in self._reasons.most_common(MENTIONED)]
        more = len(self._reasons) - len(reasons)
        if more:
            reasons.append(f"and {more} more reason{'s' if more > 1 else ''}")
        text = f"none of {self._count} offers is available now: {'; '.join(reasons)}"
        return [text + self._again("the first", self._until)]

    def _again(self, what: str, until: dt.datetime | None) -> str:
        if until is None:
            return ""
        day = "" if until.date() == self._now.date() else "%Y-%m-%d "
        return f"; {what} is tried again at {until.strftime(f'{day}%H:%M')} UTC"


def _some(troubles: list[str]) -> list[str]:
    more = len(troubles) - MENTIONED
    return troubles if more <= 0 else [*troubles[:MENTIONED], f"and {more} more"]
