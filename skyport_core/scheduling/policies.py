"""Which job goes where, and in which order."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Protocol

from .explain import Explainer
from .inventory import Fit, Inventory
from .offers import FAIR, Conditions, Offers
from .plan import Impossible, NodeState, PendingJob, Placement, Timetable, Waiting


class Policy(Protocol):
    """Makes a timetable of the queue and what there is to run it on.

    A policy is a pure function: the same arguments, in whatever order their items come, give the
    same timetable. It never places more on a node than is free there.
    """

    def plan(
        self,
        queue: Sequence[PendingJob],
        nodes: Sequence[NodeState],
        offers: Offers,
        now: dt.datetime,
        *,
        unknown_sites: Collection[str] = (),
        conditions: Conditions = FAIR,
    ) -> Timetable:
        """Decide about every job of the queue.

        Parameters
        ----------
        queue, nodes, offers
            The jobs that wait, the nodes that exist, and the kinds of nodes that could be made.
        now : datetime
            The present, aware.
        unknown_sites : collection of str
            Sites whose nodes and offers are not known yet: a job that may run there is never
            impossible.
        conditions : Conditions
            What keeps offers from being used at present.
        """
        ...


class FCFS:
    """First come, first served.

    Jobs are looked at in the order of their submission. A job goes to the least loaded node that
    can take it now; nodes with GPUs come last for a job that needs none, suspect nodes last of
    all. When no node can take it, it goes to the cheapest offer. When there is none either, it
    waits, and all the nodes that could hold it are kept from the jobs behind it, so that small
    jobs cannot starve a large one; jobs that use other nodes pass it.
    """

    def plan(
        self,
        queue: Sequence[PendingJob],
        nodes: Sequence[NodeState],
        offers: Offers,
        now: dt.datetime,
        *,
        unknown_sites: Collection[str] = (),
        conditions: Conditions = FAIR,
    ) -> Timetable:
        """See :meth:`Policy.plan`."""
        inventory = Inventory(queue, nodes, offers, conditions)
        explainer = Explainer(inventory, unknown_sites, now)
        placements: list[Placement] = []
        waiting: list[Waiting] = []
        hopeless: list[Impossible] = []
        for job in sorted(queue, key=lambda job: (job.submitted, job.index, job.id)):
            fit = inventory.fit(job)
            if (placement := _place(job, fit)) is not None:
                placements.append(placement)
            elif (verdict := explainer.impossible(job, fit)) is not None:
                hopeless.append(verdict)
            else:
                fit.hold(job.excluded)
                reason = explainer.waiting(job, fit, ahead=len(waiting))
                waiting.append(Waiting(job.id, len(waiting) + 1, reason))
        return Timetable(tuple(placements), tuple(waiting), tuple(hopeless))


def _place(job: PendingJob, fit: Fit) -> Placement | None:
    seat = fit.best_seat(job)
    if seat is not None:
        seat.take(job.need)
        return Placement(job.id, seat.node.site, node=seat.node.name)
    offer = fit.best_offer(job)
    if offer is not None:
        return Placement(job.id, offer.site, offer=offer)
    return None
