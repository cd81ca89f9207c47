"""What holds for every timetable of FCFS, whatever the queue and the inventory."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from skyport_core.model import Resources
from skyport_core.scheduling import FCFS, NodeState, Offer, Offers, PendingJob
from tests.core.scheduling.strategies import START, inventories, offer_lists, queues, unknown_sites

Queue = list[PendingJob]
Nodes = list[NodeState]
OfferList = list[Offer]


def in_order(queue: Queue) -> Queue:
    return sorted(queue, key=lambda job: (job.submitted, job.index, job.id))


def admits(place: NodeState | Offer, job: PendingJob) -> bool:
    """Whether the place could hold the job if it were empty and up; written apart from the code."""
    terms, sleeps = ("", "", False), False
    if isinstance(place, Offer):
        terms, sleeps = (place.region, place.zone, place.spot), place.suspendable
    region, zone, spot = terms
    if (job.region or region, job.zone or zone) != (region, zone) or job.spot is (not spot):
        return False
    if job.keep and not sleeps:
        return False
    if job.max_price is not None and (place.price or 0) > job.max_price:
        return False
    return (
        (job.site is None or job.site == place.site)
        and (job.flavor is None or job.flavor == place.flavor)
        and set(job.labels.items()) <= set(place.labels.items())
        and job.need.cpus <= place.total.cpus
        and job.need.memory <= place.total.memory
        and job.need.gpus <= place.total.gpus
        and place.key not in job.excluded
    )


@given(queues(), inventories(), offer_lists(), unknown_sites)
def test_each_job_gets_exactly_one_answer(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str]
) -> None:
    table = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown)
    answers = [answer.job_id for answer in table.placements]
    answers += [answer.job_id for answer in table.waiting]
    answers += [answer.job_id for answer in table.impossible]
    assert sorted(answers) == sorted(job.id for job in queue)


@given(queues(), inventories(), offer_lists())
def test_no_node_is_over_allocated(queue: Queue, nodes: Nodes, offers: OfferList) -> None:
    needs = {job.id: job.need for job in queue}
    free = {(node.site, node.name): node.free for node in nodes}
    for placement in FCFS().plan(queue, nodes, Offers(offers), START).placements:
        if placement.node is not None:
            free[placement.site, placement.node] -= needs[placement.job_id]
            assert Resources().fits_in(free[placement.site, placement.node])


@given(queues(), inventories(), offer_lists())
def test_a_job_is_placed_only_where_it_may_run(
    queue: Queue, nodes: Nodes, offers: OfferList
) -> None:
    jobs = {job.id: job for job in queue}
    by_name = {(node.site, node.name): node for node in nodes}
    for placement in FCFS().plan(queue, nodes, Offers(offers), START).placements:
        place: NodeState | Offer
        if placement.node is not None:
            assert placement.offer is None
            place = by_name[placement.site, placement.node]
        else:
            assert placement.offer is not None
            place = placement.offer
            assert place in offers
        assert place.available and admits(place, jobs[placement.job_id])


@given(queues(), inventories(), offer_lists())
def test_nobody_overtakes_a_waiting_job_on_a_node_that_it_could_use(
    queue: Queue, nodes: Nodes, offers: OfferList
) -> None:
    table = FCFS().plan(queue, nodes, Offers(offers), START)
    waiting = {answer.job_id for answer in table.waiting}
    placed = {answer.job_id: (answer.site, answer.node) for answer in table.placements}
    kept: set[tuple[str, str | None]] = set()
    for job in in_order(queue):
        if job.id in waiting:
            kept |= {(node.site, node.name) for node in nodes if admits(node, job)}
        elif job.id in placed:
            assert placed[job.id] not in kept


@given(queues(), inventories(), offer_lists(), unknown_sites)
def test_a_job_waits_only_if_nothing_is_left_for_it(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str]
) -> None:
    table = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown)
    placed = {answer.job_id: answer for answer in table.placements}
    waiting = {answer.job_id for answer in table.waiting}
    free = {node.key: node.free for node in nodes}
    kept: set[str] = set()
    for job in in_order(queue):
        if job.id in placed and placed[job.id].node is not None:
            free[f"{placed[job.id].site}/{placed[job.id].node}"] -= job.need
        elif job.id in waiting:
            could = [node for node in nodes if admits(node, job)]
            assert not any(
                node.available and node.key not in kept and job.need.fits_in(free[node.key])
                for node in could
            )
            assert not any(offer.available and admits(offer, job) for offer in offers)
            kept |= {node.key for node in could}


@given(queues(), offer_lists())
def test_no_offer_that_a_job_could_have_is_cheaper(queue: Queue, offers: OfferList) -> None:
    jobs = {job.id: job for job in queue}
    for placement in FCFS().plan(queue, [], Offers(offers), START).placements:
        assert placement.offer is not None
        could = [offer for offer in offers if admits(offer, jobs[placement.job_id])]
        prices = [offer.price or 0 for offer in could if offer.available]
        assert (placement.offer.price or 0) == min(prices)


@given(queues(), inventories(), offer_lists(), unknown_sites)
def test_a_job_is_impossible_only_if_no_place_could_ever_hold_it(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str]
) -> None:
    table = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown)
    impossible = {answer.job_id for answer in table.impossible}
    for job in queue:
        places: list[NodeState | Offer] = [*nodes, *offers]
        possible = any(admits(place, job) for place in places)
        may_be = bool(unknown) if job.site is None else job.site in unknown
        assert (job.id in impossible) == (not possible and not may_be)


@given(queues(), inventories(), offer_lists(), unknown_sites)
def test_positions_count_from_1_in_the_order_of_the_queue(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str]
) -> None:
    waiting = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown).waiting
    assert [answer.position for answer in waiting] == list(range(1, len(waiting) + 1))
    ids = {answer.job_id for answer in waiting}
    order = [job.id for job in in_order(queue) if job.id in ids]
    assert [answer.job_id for answer in waiting] == order


@given(queues(), inventories(), offer_lists(), unknown_sites, st.randoms(use_true_random=False))
def test_the_order_of_queue_and_nodes_does_not_matter(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str], shuffle: random.Random
) -> None:
    def shuffled(items: Sequence[object]) -> list[object]:
        return shuffle.sample(items, len(items))

    table = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown)
    other = FCFS().plan(
        shuffled(queue),  # type: ignore[arg-type]
        shuffled(nodes),  # type: ignore[arg-type]
        Offers(offers),
        START,
        unknown_sites=shuffled(sorted(unknown)),  # type: ignore[arg-type]
    )
    assert table == other


@given(queues(), inventories(), offer_lists(), unknown_sites)
def test_every_refusal_and_every_wait_says_why(
    queue: Queue, nodes: Nodes, offers: OfferList, unknown: set[str]
) -> None:
    table = FCFS().plan(queue, nodes, Offers(offers), START, unknown_sites=unknown)
    assert all(answer.reason and answer.hint for answer in table.impossible)
    assert all(answer.reason.startswith("Waiting for ") for answer in table.waiting)
    assert not any(answer.reason.endswith(": ") for answer in table.waiting)
