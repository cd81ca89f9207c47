"""Where and when jobs run: pure functions over plain data, no I/O."""

from .plan import Impossible, NodeState, Offer, PendingJob, Placement, Timetable, Waiting
from .policies import FCFS, Policy

__all__ = [
    "FCFS",
    "Impossible",
    "NodeState",
    "Offer",
    "PendingJob",
    "Placement",
    "Policy",
    "Timetable",
    "Waiting",
]
