"""When a waiting job may start, as far as walltimes tell: pure functions over plain data."""

from __future__ import annotations

import datetime as dt
import heapq
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..model import Resources
from .inventory import admits_node
from .plan import NodeState, PendingJob


@dataclass(frozen=True)
class Release:
    """What a job gives back on its node; ``at`` None: nobody knows when."""

    site: str
    node: str
    held: Resources
    at: dt.datetime | None


@dataclass(frozen=True)
class Ahead:
    """A job that waits before the one that is asked about; ``walltime`` in seconds."""

    job: PendingJob
    walltime: int | None


class _Line:
    """One node from now on: what is free, and what becomes free when."""

    def __init__(self, node: NodeState, now: dt.datetime) -> None:
        self.node = node
        self._clock = now
        self._free = node.free
        self._order = itertools.count()
        self._releases: list[tuple[dt.datetime, int, Resources]] = []

    def give_back(self, at: dt.datetime, held: Resources) -> None:
        """Expect something to become free."""
        heapq.heappush(self._releases, (at, next(self._order), held))

    def start(self, need: Resources) -> dt.datetime | None:
        """When the need can be met at the earliest; None: not known."""
        if need.fits_in(self._free):
            return self._clock
        free = self._free
        for at, _, held in sorted(self._releases):
            free = free + held
            if need.fits_in(free):
                return max(at, self._clock)
        return None

    def take(self, need: Resources, start: dt.datetime, walltime: int | None) -> None:
        """Put a job there; what is behind it starts no earlier."""
        while self._releases and self._releases[0][0] <= start:
            self._free = self._free + heapq.heappop(self._releases)[2]
        self._clock = start
        self._free = self._free - need
        if walltime is not None:
            self.give_back(start + dt.timedelta(seconds=walltime), need)


class Forecast:
    """What the walltimes of running and waiting jobs say of the time to come.

    Jobs are taken to run for their whole walltime, and to start in order. Where a job without a
    walltime is in the way, nothing is known.

    Parameters
    ----------
    nodes
        The nodes that exist, with what is free on them now.
    releases
        What the running jobs give back.
    ahead
        Those that wait before the job that is asked about, in order.
    """

    def __init__(
        self,
        nodes: Iterable[NodeState],
        releases: Iterable[Release],
        ahead: Sequence[Ahead],
        now: dt.datetime,
    ) -> None:
        self._lines = {node.key: _Line(node, now) for node in nodes if node.available}
        for release in releases:
            line = self._lines.get(f"{release.site}/{release.node}")
            if line is not None and release.at is not None:
                line.give_back(max(release.at, now), release.held)
        for other in ahead:
            self._put(other)

    def _put(self, other: Ahead) -> None:
        best = self._best(other.job)
        if best is None:
            # It starts nobody knows when, and those behind it no earlier where it fits.
            for line in self._suitable(other.job):
                del self._lines[line.node.key]
            return
        start, line = best
        line.take(other.job.need, start, other.walltime)

    def start(self, job: PendingJob) -> dt.datetime | None:
        """When the job starts on a node that exists; None: not known, or never."""
        best = self._best(job)
        return None if best is None else best[0]

    def start_on(self, job: PendingJob, node: NodeState) -> dt.datetime | None:
        """When it could start on this node."""
        line = self._lines.get(node.key)
        return None if line is None else line.start(job.need)

    def _best(self, job: PendingJob) -> tuple[dt.datetime, _Line] | None:
        starts = [(line.start(job.need), line) for line in self._suitable(job)]
        known = [(start, line) for start, line in starts if start is not None]
        return min(known, key=lambda each: each[0], default=None)

    def _suitable(self, job: PendingJob) -> list[_Line]:
        return [
            line
            for line in self._lines.values()
            if admits_node(line.node, job)
            and job.need.fits_in(line.node.total)
            and line.node.key not in job.excluded
        ]
