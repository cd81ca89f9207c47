"""When a waiting job starts, from what is known of the others."""

from __future__ import annotations

import datetime as dt

from skyport_core.model import Resources
from skyport_core.scheduling import NodeState, PendingJob
from skyport_core.scheduling.forecast import Ahead, Forecast, Release

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)


def later(seconds: int) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


def node(name: str = "n1", free: int = 0, **fields: object) -> NodeState:
    whole = Resources(4, 4096)
    return NodeState("lab", name, "bench", whole, Resources(free, 4096), **fields)  # type: ignore[arg-type]


def job(cpus: int = 4, **wish: object) -> PendingJob:
    return PendingJob("j", "ann", NOW, Resources(cpus, 1024), **wish)  # type: ignore[arg-type]


def release(cpus: int, at: int | None, name: str = "n1") -> Release:
    return Release("lab", name, Resources(cpus, 0), None if at is None else later(at))


def start(
    *releases: Release,
    nodes: tuple[NodeState, ...] = (node(),),
    ahead: tuple[Ahead, ...] = (),
    asked: PendingJob | None = None,
) -> dt.datetime | None:
    return Forecast(nodes, releases, ahead, NOW).start(asked or job())


def test_it_starts_once_enough_is_given_back() -> None:
    assert start(release(2, 60), release(2, 30)) == later(60)
    assert start(release(2, 60), release(2, 30), asked=job(2)) == later(30)


def test_nothing_is_known_while_a_job_without_walltime_is_in_the_way() -> None:
    assert start(release(2, 60), release(2, None)) is None


def test_the_node_that_is_free_first_counts() -> None:
    nodes = (node("n1"), node("n2"))
    assert start(release(4, 60, "n1"), release(4, 30, "n2"), nodes=nodes) == later(30)


def test_those_ahead_come_first_for_their_whole_walltime() -> None:
    assert start(release(4, 60), ahead=(Ahead(job(), 100),)) == later(160)


def test_behind_a_job_without_walltime_nothing_is_known() -> None:
    assert start(release(4, 60), ahead=(Ahead(job(), None),)) is None


def test_a_job_ahead_that_starts_nobody_knows_when_hides_its_nodes() -> None:
    nodes = (node("n1"), node("n2", labels={"disk": "ssd"}))
    ahead = (Ahead(job(labels={"disk": "ssd"}), 10),)
    releases = (release(4, 60, "n1"), release(4, None, "n2"))
    assert start(*releases, nodes=nodes, ahead=ahead) == later(60)
    assert start(*releases, nodes=nodes[1:], ahead=ahead) is None


def test_a_walltime_that_is_over_already_counts_from_now() -> None:
    assert start(release(4, -5)) == NOW


def test_a_node_that_cannot_be_used_does_not_count() -> None:
    assert start(nodes=(node(free=4, available=False),)) is None
    assert start(nodes=(node(free=4),), asked=job(excluded={"lab/n1": "broken"})) is None
