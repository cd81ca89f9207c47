"""Adding up what was used."""

from __future__ import annotations

import datetime as dt
from typing import Any

from skyport_core.usage import Interval, summary
from skyport_core.wire import UsageQuery, UsageView

UTC = dt.timezone.utc
NOW = dt.datetime(2030, 1, 3, 12, tzinfo=UTC)
DAY = {"since": dt.date(2030, 1, 1), "until": dt.date(2030, 1, 3)}


def at(day: int, hour: float) -> dt.datetime:
    return dt.datetime(2030, 1, day, tzinfo=UTC) + dt.timedelta(hours=hour)


def used(start: dt.datetime, end: dt.datetime | None, **fields: Any) -> Interval:
    usual: dict[str, Any] = {
        "job_id": "j",
        "attempt": 0,
        "owner": "ann",
        "account": "",
        "site": "lab",
        "flavor": "bench",
        "nodes": 1,
        "cpus": 2.0,
        "gpus": 1,
        "share": 0.5,
        "price": 1.0,
        "currency": "USD",
    }
    return Interval(**{**usual, **fields}, started_at=start, ended_at=end)


def rows(*intervals: Interval, by: tuple[str, ...] = (), **query: Any) -> list[UsageView]:
    asked = UsageQuery.model_validate({**DAY, **query, "by": by})
    return summary(intervals, asked, NOW).usage


def test_hours_are_those_of_nodes_cores_and_devices() -> None:
    (row,) = rows(used(at(1, 0), at(1, 2), nodes=3))
    assert (row.jobs, row.job_hours, row.node_hours) == (1, 2.0, 3.0)
    assert (row.cpu_hours, row.gpu_hours, row.cost) == (12.0, 6.0, 3.0)


def test_an_interval_is_split_at_midnight_utc() -> None:
    found = rows(used(at(1, 23), at(2, 2)), by=("day",))
    assert [(row.day, row.job_hours) for row in found] == [
        (dt.date(2030, 1, 1), 1.0),
        (dt.date(2030, 1, 2), 2.0),
    ]


def test_what_runs_still_counts_to_now() -> None:
    (row,) = rows(used(at(3, 10), None))
    assert row.job_hours == 2.0


def test_only_the_days_that_are_asked_for_count() -> None:
    (row,) = rows(used(at(1, 23), at(3, 2)), since=dt.date(2030, 1, 2), until=dt.date(2030, 1, 2))
    assert row.job_hours == 24.0


def test_attempts_of_a_job_are_one_job() -> None:
    (row,) = rows(used(at(1, 0), at(1, 1)), used(at(1, 2), at(1, 3), attempt=1))
    assert (row.jobs, row.job_hours) == (1, 2.0)


def test_money_of_different_currencies_is_not_added() -> None:
    found = rows(
        used(at(1, 0), at(1, 1)),
        used(at(1, 0), at(1, 1), job_id="k", currency="EUR"),
        used(at(1, 0), at(1, 1), job_id="l", price=None, currency=""),
    )
    assert [(row.currency, row.jobs, row.cost) for row in found] == [
        ("EUR", 2, 0.5),
        ("USD", 1, 0.5),
    ]


def test_a_cost_that_nobody_knows_is_not_zero() -> None:
    (row,) = rows(used(at(1, 0), at(1, 1), price=None, currency=""))
    assert (row.cost, row.currency) == (None, "")
