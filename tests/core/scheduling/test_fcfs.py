"""FCFS by example: where jobs go, and what the others are told."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

from skyport_core.model import Resources
from skyport_core.scheduling import (
    FCFS,
    Impossible,
    NodeState,
    Offer,
    Offers,
    PendingJob,
    Placement,
    Timetable,
    Waiting,
)

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
ONE = Resources(1, 1024)


def node(name: str, cpus: float = 4, memory: int = 8192, gpus: int = 0, **more: Any) -> NodeState:
    total = Resources(cpus, memory, gpus)
    return replace(NodeState("lab", name, "std", total, total), **more)


def offer(flavor: str, price: float | None = None, cpus: float = 4, **more: Any) -> Offer:
    return replace(Offer("cloud", flavor, Resources(cpus, 8192), price), **more)


def job(number: int, need: Resources = ONE, **more: Any) -> PendingJob:
    submitted = NOW + dt.timedelta(seconds=number)
    return PendingJob(id=f"j{number}", owner="ada", submitted=submitted, need=need, **more)


def plan(
    queue: list[PendingJob], *places: NodeState | Offer, unknown: tuple[str, ...] = ()
) -> Timetable:
    nodes = [place for place in places if isinstance(place, NodeState)]
    offers = [place for place in places if isinstance(place, Offer)]
    return FCFS().plan(queue, nodes, Offers(offers), NOW, unknown_sites=unknown)


def where(table: Timetable) -> list[str | None]:
    return [
        placement.offer.flavor if placement.offer is not None else placement.node
        for placement in table.placements
    ]


def reason(table: Timetable) -> str:
    """Why the last job is not placed."""
    return (table.waiting or table.impossible)[-1].reason


def test_an_empty_queue_has_an_empty_timetable() -> None:
    assert plan([], node("n1")) == Timetable()


def test_a_job_goes_to_a_node_that_can_take_it() -> None:
    table = plan([job(1, Resources(4, 1024))], node("n1", cpus=2), node("n2"))
    assert table == Timetable((Placement("j1", "lab", "n2"),))


def test_jobs_spread_over_the_nodes() -> None:
    assert where(plan([job(i) for i in range(4)], node("n1"), node("n2"))) == [
        *("n1", "n2", "n1", "n2")
    ]


def test_the_scarcest_resource_is_the_load() -> None:
    full_memory = node("n1", free=Resources(4, 1024))
    half = node("n2", free=Resources(2, 8192))
    assert where(plan([job(1)], full_memory, half)) == ["n2"]


def test_a_job_without_gpus_takes_a_gpu_node_last() -> None:
    gpu, busy = node("gpu", gpus=2), node("std", free=Resources(1, 1024))
    assert where(plan([job(1), job(2)], gpu, busy)) == ["std", "gpu"]


def test_a_job_with_gpus_goes_where_they_are() -> None:
    need = Resources(1, 1024, 1)
    assert where(plan([job(1, need)], node("std"), node("gpu", gpus=2))) == ["gpu"]


def test_a_suspect_node_is_used_last_of_all() -> None:
    table = plan(
        [job(i, Resources(4, 1024)) for i in range(3)],
        node("bad", suspect=True),
        node("gpu", gpus=1),
        node("good"),
    )
    assert where(table) == ["good", "gpu", "bad"]


def test_a_fixed_node_comes_before_an_offer() -> None:
    assert where(plan([job(1), job(2)], offer("vm"), node("n1", cpus=1))) == ["n1", "vm"]


def test_the_cheapest_offer_that_fits_is_taken() -> None:
    offers = [offer("dear", 2.0), offer("cheap", 0.5), offer("tiny", 0.1, cpus=1)]
    assert where(plan([job(1, Resources(2, 1024))], *offers)) == ["cheap"]


def test_an_offer_that_is_not_available_is_passed_over() -> None:
    offers = [offer("dear", 2.0), offer("cheap", 0.5, available=False, reason="no capacity left")]
    assert where(plan([job(1)], *offers)) == ["dear"]


def test_offers_have_no_end() -> None:
    assert where(plan([job(i, Resources(4, 1024)) for i in range(3)], offer("vm"))) == ["vm"] * 3


def test_site_flavor_and_labels_are_obeyed() -> None:
    places = [
        node("n1"),
        node("n2", labels={"disk": "ssd", "rack": "7"}),
        node("n3", flavor="big"),
        node("n4", site="annex"),
    ]
    queue = [
        job(1, labels={"disk": "ssd"}),
        job(2, flavor="big"),
        job(3, site="annex"),
    ]
    assert where(plan(queue, *places)) == ["n2", "n3", "n4"]


def test_an_excluded_node_is_not_used() -> None:
    assert where(plan([job(1, excluded={"lab/n1": "no disk"})], node("n1"), node("n2"))) == ["n2"]


def test_an_excluded_offer_is_not_used() -> None:
    queue = [job(1, excluded={"cloud/cheap": "no boot"})]
    assert where(plan(queue, offer("cheap", 0.1), offer("dear", 1.0))) == ["dear"]


def test_a_small_job_does_not_overtake_a_large_one() -> None:
    table = plan([job(1, Resources(4, 1024)), job(2)], node("n1", free=Resources(2, 8192)))
    assert table.placements == ()
    assert [waiting.job_id for waiting in table.waiting] == ["j1", "j2"]


def test_a_job_that_uses_other_nodes_passes() -> None:
    small, large = node("small", cpus=1), node("large", free=Resources(2, 8192))
    assert where(plan([job(1, Resources(4, 1024)), job(2)], small, large)) == ["small"]


def test_a_waiting_job_does_not_keep_nodes_that_failed_it() -> None:
    queue = [job(1, Resources(4, 1024), excluded={"lab/n1": "no disk"}), job(2)]
    assert where(plan(queue, node("n1"), node("n2", free=Resources(2, 8192)))) == ["n1"]


def test_jobs_of_one_moment_go_by_id() -> None:
    first, second = (
        PendingJob(id=name, owner="ada", submitted=NOW, need=ONE) for name in ("a", "b")
    )
    table = plan([second, first], node("n1", cpus=1))
    assert table.placements[0].job_id == "a"
    assert table.waiting == (
        Waiting("b", 1, "Waiting for 1 cpus, 1024 MiB: running jobs use them"),
    )


def test_a_wait_names_the_wish_and_how_many_are_ahead() -> None:
    full = node("n1", free=Resources(0, 0), labels={"disk": "ssd"})
    queue = [
        job(1),
        job(2),
        job(3, Resources(2, 4096), site="lab", flavor="std", labels={"disk": "ssd"}),
    ]
    reasons = [waiting.reason for waiting in plan(queue, full).waiting]
    assert reasons[1] == "Waiting for 1 cpus, 1024 MiB: 1 job is ahead"
    assert reasons[2] == (
        "Waiting for 2 cpus, 4096 MiB on a node with disk=ssd of flavor std at site lab:"
        " 2 jobs are ahead"
    )


def test_a_wait_for_drained_nodes_says_so() -> None:
    drained = node("n3", available=False, reason="n3 is drained: disk swap")
    assert reason(plan([job(1)], drained)) == (
        "Waiting for 1 cpus, 1024 MiB: n3 is drained: disk swap"
    )


def test_a_wait_for_many_nodes_names_some() -> None:
    nodes = [node(f"n{i}", available=False) for i in range(5)]
    assert reason(plan([job(1)], *nodes)).endswith(
        "n0 is not available; n1 is not available; n2 is not available; and 2 more"
    )


def test_a_wait_for_an_offer_says_why() -> None:
    table = plan([job(1)], offer("vm", available=False, reason="no capacity left"))
    assert reason(table).endswith("vm at site cloud is not available now: no capacity left")


def test_a_wait_tells_of_the_nodes_that_failed_the_job() -> None:
    table = plan([job(1, excluded={"lab/n1": "no disk"})], node("n1"), node("n2", available=False))
    assert reason(table).endswith("n1 failed the job: no disk; n2 is not available")


def test_a_job_for_a_site_that_is_not_known_yet_waits() -> None:
    table = plan([job(1, Resources(64, 1), site="slurm")], node("n1"), unknown=("slurm",))
    assert reason(table).endswith("the nodes of site slurm are not known yet")


def test_a_job_for_any_site_does_not_wait_for_the_unknown_if_it_has_a_place() -> None:
    assert where(plan([job(1)], node("n1"), unknown=("slurm",))) == ["n1"]


def test_a_job_that_is_too_large_learns_the_largest_node() -> None:
    table = plan([job(1, Resources(64, 4096))], node("n1"), node("n2", cpus=16), offer("vm"))
    assert table.impossible == (
        Impossible(
            "j1",
            "No node can hold 64 cpus, 4096 MiB: the largest is n2 at site lab with 16 cpus,"
            " 8192 MiB.",
            "Ask for less: at most 16 cpus.",
        ),
    )


def test_a_job_for_gpus_that_nobody_has_learns_so() -> None:
    table = plan([job(1, Resources(1, 99999, 1))], node("n1"))
    assert table.impossible[0].hint == "Ask for less: at most 8192 MiB, no gpus."


def test_a_node_that_is_full_or_down_is_not_too_small() -> None:
    full = node("n1", free=Resources(0, 0))
    down = node("n2", cpus=8, available=False)
    assert len(plan([job(1), job(2, Resources(8, 1))], full, down).waiting) == 2


def test_a_job_for_an_unknown_site_learns_the_sites() -> None:
    table = plan([job(1, site="moon")], node("n1"), offer("vm"))
    assert table.impossible[0].reason == "Site 'moon' has no nodes."
    assert table.impossible[0].hint == "Choose one of the sites cloud, lab."


def test_a_job_for_an_unknown_flavor_learns_the_flavors_of_its_site() -> None:
    table = plan([job(1, flavor="xl", site="lab")], node("n1"), offer("vm"))
    assert table.impossible[0].reason == "There is no flavor 'xl' at site lab."
    assert table.impossible[0].hint == "Choose one of the flavors std."


def test_a_job_for_labels_that_no_node_carries_learns_so() -> None:
    table = plan([job(1, labels={"disk": "ssd"})], node("n1"))
    assert reason(table) == "No node carries the labels disk=ssd."


def test_a_job_that_every_node_failed_learns_why() -> None:
    excluded = {"lab/n1": "no disk", "lab/n2": "login refused", "lab/other": "x"}
    table = plan([job(1, excluded=excluded)], node("n1"), node("n2"), node("tiny", cpus=0.5))
    assert reason(table) == (
        "The job failed on every node that could hold it. lab/n1: no disk; lab/n2: login refused"
    )


def test_without_any_node_nothing_is_possible() -> None:
    assert reason(plan([job(1)])) == "There are no nodes to run jobs on."


def test_ten_thousand_jobs_and_a_thousand_nodes() -> None:
    table = plan(
        [job(i, Resources(4, 1024)) for i in range(10_000)],
        *(node(f"n{i:04}", cpus=16, memory=65536) for i in range(1000)),
    )
    assert (len(table.placements), len(table.waiting)) == (4000, 6000)
