"""What jobs used and cost, added up from the intervals in which they had a place: no I/O."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from .wire import UsageList, UsageQuery, UsageView

DAY = dt.timedelta(days=1)
HOUR = dt.timedelta(hours=1)

DAYS_SHOWN = 30
"""Days before today from which on usage is shown when nobody says."""


@dataclass(frozen=True)
class Interval:
    """A time in which a job had a place.

    ``cpus`` and ``gpus`` are what it held of each of its ``nodes``, ``share`` the part of the
    node that this is (0 to 1), ``price`` that of a whole node and hour. ``ended_at`` None: it has
    the place still.
    """

    job_id: str
    attempt: int
    owner: str
    account: str
    site: str
    flavor: str
    nodes: int
    cpus: float
    gpus: int
    share: float
    price: float | None
    currency: str
    started_at: dt.datetime
    ended_at: dt.datetime | None


@dataclass
class _Sum:
    """One line of the answer while it grows."""

    jobs: set[str] = field(default_factory=set)
    job_hours: float = 0.0
    node_hours: float = 0.0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    cost: float | None = None

    def add(self, used: Interval, hours: float) -> None:
        node_hours = hours * used.nodes * used.share
        self.jobs.add(used.job_id)
        self.job_hours += hours
        self.node_hours += node_hours
        self.cpu_hours += hours * used.nodes * used.cpus
        self.gpu_hours += hours * used.nodes * used.gpus
        if used.price is not None:
            self.cost = (self.cost or 0.0) + node_hours * used.price

    def merge(self, other: _Sum) -> None:
        self.jobs |= other.jobs
        self.job_hours += other.job_hours
        self.node_hours += other.node_hours
        self.cpu_hours += other.cpu_hours
        self.gpu_hours += other.gpu_hours


Key = tuple["str | dt.date", ...]


def days_of(query: UsageQuery, today: dt.date) -> tuple[dt.date, dt.date]:
    """First and last day that a query asks for.

    Raises
    ------
    ValueError
        The last comes before the first.
    """
    until = query.until or today
    since = query.since or min(today - dt.timedelta(days=DAYS_SHOWN), until)
    if until < since:
        raise ValueError(f"must not be before since ({since})")
    return since, until


def end_of(day: dt.date) -> dt.datetime:
    """When a day of UTC is over; of the last there is, the last moment."""
    if day == dt.date.max:
        return dt.datetime.max.replace(tzinfo=dt.timezone.utc)
    return midnight(day) + DAY


def midnight(day: dt.date) -> dt.datetime:
    """The beginning of a day, UTC."""
    return dt.datetime.combine(day, dt.time(), dt.timezone.utc)


def summary(intervals: Iterable[Interval], query: UsageQuery, now: dt.datetime) -> UsageList:
    """Add intervals up, told apart by what the query says; those that run count up to now.

    Money of different currencies is never added: each has a row of its own.
    """
    since, until = days_of(query, now.date())
    begin, end = midnight(since), min(end_of(until), now)
    groups: dict[Key, dict[str, _Sum]] = {}
    for used in intervals:
        start, stop = max(used.started_at, begin), min(used.ended_at or now, end)
        if start >= stop:
            continue
        for day, hours in _parts(start, stop, split="day" in query.by):
            key = tuple(day if name == "day" else str(getattr(used, name)) for name in query.by)
            currency = used.currency if used.price is not None else ""
            groups.setdefault(key, {}).setdefault(currency, _Sum()).add(used, hours)
    rows = [
        _view(query, key, currency, total)
        for key, sums in sorted(groups.items())
        for currency, total in _settled(sums)
    ]
    return UsageList(since=since, until=until, usage=rows)


def _parts(
    start: dt.datetime, stop: dt.datetime, *, split: bool
) -> Iterator[tuple[dt.date, float]]:
    """The hours of an interval, by day if it is to be split."""
    while split and start.date() < stop.date():
        night = midnight(start.date() + DAY)
        yield start.date(), (night - start) / HOUR
        start = night
    if start < stop:
        yield start.date(), (stop - start) / HOUR


def _settled(sums: dict[str, _Sum]) -> list[tuple[str, _Sum]]:
    """By currency; what has no price goes with the first that has one."""
    free = sums.get("")
    paid = sorted((currency, total) for currency, total in sums.items() if currency)
    if free is None or not paid:
        return paid or list(sums.items())
    paid[0][1].merge(free)
    return paid


def _view(query: UsageQuery, key: Key, currency: str, total: _Sum) -> UsageView:
    return UsageView(
        **dict(zip(query.by, key, strict=True)),
        jobs=len(total.jobs),
        job_hours=round(total.job_hours, 6),
        node_hours=round(total.node_hours, 6),
        cpu_hours=round(total.cpu_hours, 6),
        gpu_hours=round(total.gpu_hours, 6),
        cost=None if total.cost is None else round(total.cost, 6),
        currency=currency,
    )
