"""Where and when jobs run: pure functions over plain data, no I/O."""

from .offers import Conditions, Offers, Trouble
from .plan import Impossible, NodeState, Offer, PendingJob, Placement, Timetable, Waiting
from .policies import FCFS, Policy

__all__ = [
    "FCFS",
    "Conditions",
    "Impossible",
    "NodeState",
    "Offer",
    "Offers",
    "PendingJob",
    "Placement",
    "Policy",
    "Timetable",
    "Trouble",
    "Waiting",
]
