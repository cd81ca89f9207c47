"""The core's record of a partition."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from .states import PartitionState


@dataclass(frozen=True)
class PartitionRecord:
    """The core's own record of a partition, written before the gate is asked for anything.

    Attributes
    ----------
    job_id
        The job that has it now, or had it last.
    count
        How many nodes it has.
    flavor, region, zone, spot, price
        The offer it was made from; ``price`` per node and hour, None: not known.
    image, max_price
        As the job asked.
    keep
        Under which name its owner keeps it between jobs; "": it goes with its job.
    state, target
        Where it is and where it should get to: READY, SUSPENDED or DELETED.
    deadline
        When the present state is given up; of a sleeping one: when it is deleted.
    reason, error
        Why it failed or is leaving: a word for programs (``preempted``, ``no_capacity``,
        ``quota``, ``boot``, ``lost`` …) and a sentence for people. One that is or gets ready after
        a sleep is ``woken``.
    """

    name: str
    site: str
    job_id: str
    owner: str
    flavor: str
    created_at: dt.datetime
    state_since: dt.datetime
    state: PartitionState = PartitionState.REQUESTED
    target: PartitionState = PartitionState.READY
    region: str = ""
    zone: str = ""
    spot: bool = False
    price: float | None = None
    image: str = ""
    max_price: float | None = None
    keep: str = ""
    count: int = 1
    deadline: dt.datetime | None = None
    reason: str = ""
    error: str = ""
    version: int = 0
