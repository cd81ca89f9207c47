"""Offers on terms: regions, zones, spot, prices, sleep, and what is said when there is none."""

from __future__ import annotations

import datetime as dt
import time
from dataclasses import replace
from typing import Any

import pytest

from skyport_core.model import Resources
from skyport_core.scheduling import (
    FCFS,
    Conditions,
    NodeState,
    Offer,
    Offers,
    PendingJob,
    Timetable,
    Trouble,
)
from skyport_core.scheduling.words import money

NOW = dt.datetime(2030, 1, 1, 12, 0, tzinfo=dt.timezone.utc)
SIZE = Resources(4, 8192)
D4 = Offer("azure", "D4", SIZE, 0.2, region="west", suspendable=True)


def at(price: float | None, region: str = "west", zone: str = "", **more: Any) -> Offer:
    return replace(D4, price=price, region=region, zone=zone, **more)


def job(**wish: Any) -> PendingJob:
    return PendingJob("j1", "ada", NOW, **{"need": Resources(1, 1024), **wish})


def plan(
    wish: PendingJob, *offers: Offer, nodes: tuple[NodeState, ...] = (), **more: Any
) -> Timetable:
    return FCFS().plan([wish], nodes, Offers(offers), NOW, **more)


def chosen(table: Timetable) -> str:
    [placement] = table.placements
    assert placement.offer is not None
    return placement.offer.key


def blocked(trouble: Trouble, *keys: str) -> Conditions:
    return Conditions(lambda offer: trouble if not keys or offer.key in keys else None)


def refusal(table: Timetable) -> tuple[str, str]:
    [impossible] = table.impossible
    return impossible.reason, impossible.hint


def wait(table: Timetable) -> str:
    [waiting] = table.waiting
    return waiting.reason


def test_a_job_goes_to_its_region() -> None:
    assert chosen(plan(job(region="north"), at(0.1), at(0.9, "north"))) == "azure/D4@north"


def test_without_a_region_it_takes_the_cheapest() -> None:
    offers = [at(0.3, "west"), at(0.1, "north"), at(0.2, "east")]
    assert chosen(plan(job(), *offers)) == "azure/D4@north"


def test_of_equal_regions_the_one_that_the_site_prefers_is_taken() -> None:
    assert chosen(plan(job(), at(0.1, "west"), at(0.1, "north"))) == "azure/D4@west"


def test_a_job_goes_to_its_zone() -> None:
    offers = [at(0.1, zone="1"), at(0.1, zone="2"), at(0.1, "north", "2")]
    assert chosen(plan(job(zone="2"), *offers)) == "azure/D4@west-2"


@pytest.mark.parametrize(
    ("spot", "key"),
    [(False, "azure/D4@west"), (True, "azure/D4@west+spot"), (None, "azure/D4@west+spot")],
)
def test_spot_is_taken_if_it_may(spot: bool | None, key: str) -> None:
    assert chosen(plan(job(spot=spot), at(0.2), at(0.05, spot=True))) == key


def test_either_takes_the_regular_one_if_it_is_cheaper() -> None:
    assert chosen(plan(job(spot=None), at(0.2), at(0.3, spot=True))) == "azure/D4@west"


def test_the_highest_price_is_kept() -> None:
    offers = [at(0.2), replace(D4, flavor="D2", price=0.1)]
    assert chosen(plan(job(max_price=0.1), *offers)) == "azure/D2@west"


def test_an_unknown_price_comes_last_and_is_above_every_limit() -> None:
    offers = [at(None), at(9.0, "north")]
    assert chosen(plan(job(), *offers)) == "azure/D4@north"
    assert plan(job(max_price=5), *offers).impossible


def test_what_a_site_does_not_bill_is_below_every_limit() -> None:
    assert chosen(plan(job(max_price=0.01), at(None))) == "azure/D4@west"


def test_a_machine_that_is_kept_must_be_able_to_sleep() -> None:
    offers = [at(0.1, suspendable=False), replace(D4, flavor="E4", price=0.5)]
    assert chosen(plan(job(keep=True), *offers)) == "azure/E4@west"


def test_only_sites_that_have_what_the_job_needs_are_used() -> None:
    other = replace(D4, site="other", price=0.1)
    assert chosen(plan(job(sites=frozenset({"azure"})), D4, other)) == "azure/D4@west"


@pytest.mark.parametrize(
    "wish", [{"region": "west"}, {"zone": "1"}, {"spot": True}, {"keep": True}]
)
def test_fixed_nodes_have_no_region_no_spot_and_no_sleep(wish: dict[str, Any]) -> None:
    node = NodeState("lab", "n1", "D4", SIZE, SIZE)
    assert plan(job(**wish), nodes=(node,)).impossible


def test_a_node_may_be_too_dear() -> None:
    dear, cheap = (
        NodeState("lab", name, "D4", SIZE, SIZE, price=price)
        for name, price in (("dear", 2.0), ("cheap", 0.1))
    )
    [placement] = plan(job(max_price=1), nodes=(dear, cheap)).placements
    assert placement.node == "cheap"


def test_failover_goes_by_zone_then_region_then_flavor() -> None:
    offers = [
        at(0.1, "west", "1"),
        at(0.1, "west", "2"),
        at(0.1, "north"),
        replace(D4, flavor="E4", price=0.1),
    ]
    tried: list[str] = []
    while table := plan(job(excluded=dict.fromkeys(tried, "full")), *offers).placements:
        assert table[0].offer is not None
        tried.append(table[0].offer.key)
    assert tried == ["azure/D4@west-1", "azure/D4@west-2", "azure/D4@north", "azure/E4@west"]


def test_a_blocked_offer_is_passed_over() -> None:
    conditions = blocked(Trouble("full"), "azure/D4@west")
    assert chosen(plan(job(), at(0.1), at(0.3, "north"), conditions=conditions)).endswith("north")


def test_a_closed_site_is_passed_over() -> None:
    conditions = Conditions(lambda offer: None, {"azure": Trouble("no credential")})
    other = replace(D4, site="other", price=9.0)
    assert chosen(plan(job(), D4, other, conditions=conditions)) == "other/D4@west"


def test_a_wait_for_one_offer_says_why_and_until_when() -> None:
    conditions = blocked(Trouble("no capacity", NOW + dt.timedelta(minutes=9)))
    assert wait(plan(job(), at(0.1, zone="1", spot=False), conditions=conditions)).endswith(
        "D4 in west, zone 1 at site azure is not available now: no capacity;"
        " it is tried again at 12:09 UTC"
    )


def test_a_wait_until_another_day_names_it() -> None:
    conditions = blocked(Trouble("no capacity", NOW + dt.timedelta(hours=23)))
    assert wait(plan(job(), D4, conditions=conditions)).endswith("at 2030-01-02 11:00 UTC")


def test_a_wait_for_hundreds_of_offers_counts_the_reasons() -> None:
    offers = [at(0.1, f"r{index}") for index in range(300)]
    soon, late = NOW + dt.timedelta(minutes=5), NOW + dt.timedelta(hours=1)
    reasons = [Trouble("no capacity", late)] * 5 + [Trouble("quota", soon)] * 3
    reasons += [Trouble("a"), Trouble("b")]

    def trouble(offer: Offer) -> Trouble:
        return reasons[int(offer.region[1:]) % len(reasons)]

    assert wait(plan(job(), *offers, conditions=Conditions(trouble))) == (
        "Waiting for 1 cpus, 1024 MiB: none of 300 offers is available now: no capacity (150);"
        " quota (90); a (30); and 1 more reason; the first is tried again at 12:05 UTC"
    )


def test_a_wait_for_a_closed_site_says_why_once() -> None:
    conditions = Conditions(lambda offer: None, {"azure": Trouble("The credential has expired")})
    offers = [at(0.1, f"r{index}") for index in range(300)]
    assert wait(plan(job(), *offers, conditions=conditions)) == (
        "Waiting for 1 cpus, 1024 MiB: site azure cannot be used now: The credential has expired"
    )


def test_what_the_site_says_of_an_offer_is_a_reason_to_wait() -> None:
    off = at(0.1, available=False, reason="the quota is 0")
    assert "D4 in west at site azure is not available now: the quota is 0" in wait(plan(job(), off))


def test_an_unknown_region_learns_the_regions() -> None:
    offers = [at(0.1, "west"), at(0.1, "north")]
    assert refusal(plan(job(region="mars", site="azure"), *offers)) == (
        "Nothing is offered in region 'mars' at site azure.",
        "Choose one of the regions north, west.",
    )


def test_a_flavor_that_is_not_in_a_region_learns_where_it_is() -> None:
    offers = [at(0.1, "west"), replace(D4, flavor="E4", region="north")]
    assert refusal(plan(job(region="north", flavor="D4"), *offers)) == (
        "Flavor D4 is not offered in region 'north'.",
        "Choose one of the regions west.",
    )


def test_an_unknown_zone_learns_the_zones() -> None:
    offers = [at(0.1, zone="1"), at(0.1, zone="2"), at(0.1, "north", "7")]
    assert refusal(plan(job(region="west", zone="3"), *offers)) == (
        "Nothing is offered in zone '3' of region west.",
        "Choose one of the zones 1, 2.",
    )


def test_spot_that_nobody_offers_is_impossible() -> None:
    reason, hint = refusal(plan(job(spot=True, flavor="D4", region="west"), D4))
    assert reason == "The nodes of flavor D4 in region west are not offered as spot nodes."
    assert hint == "Ask for no spot node, or for another flavor or region."


def test_regular_nodes_that_nobody_offers_are_impossible() -> None:
    reason, hint = refusal(plan(job(), at(0.1, spot=True)))
    assert "are offered as spot nodes only" in reason
    assert hint.startswith("Allow spot nodes")


def test_a_price_that_nothing_meets_learns_the_cheapest() -> None:
    offers = [at(0.0517, zone="1", spot=True), at(0.2, spot=True), at(0.01)]
    small = replace(D4, flavor="D1", total=Resources(1, 512), price=0.01, spot=True)
    assert refusal(plan(job(spot=True, max_price=0.05), *offers, small)) == (
        "No node that can hold 1 cpus, 1024 MiB costs at most 0.05 per hour: the cheapest is D4 in"
        " west, zone 1 (spot) at site azure with 0.0517.",
        "Raise the highest price, or ask for less.",
    )


def test_a_price_that_nobody_knows_is_said_to_be_so() -> None:
    offers = [at(None), replace(D4, flavor="tiny", total=Resources(0.5, 512))]
    reason, hint = refusal(plan(job(max_price=1), *offers))
    assert reason.startswith("No price is known of the nodes that could hold")
    assert hint == "Ask without a highest price."


def test_sleep_that_no_node_can_is_impossible() -> None:
    reason, hint = refusal(plan(job(keep=True, flavor="D4"), at(0.1, suspendable=False)))
    assert reason == "The nodes of flavor D4 cannot sleep, so none can be kept."
    assert hint == "Ask for another flavor, or keep no machine."


def test_the_wish_of_a_wait_names_place_and_price() -> None:
    wish = job(region="west", zone="1", spot=True, max_price=0.5, site="azure")
    off = at(0.1, zone="1", spot=True, available=False)
    assert wait(plan(wish, off)).startswith(
        "Waiting for 1 cpus, 1024 MiB on a spot node for at most 0.50 per hour in zone 1 of region"
        " west at site azure: "
    )


@pytest.mark.parametrize(
    ("price", "text"),
    [(0.05, "0.05"), (0.0517, "0.0517"), (0.192, "0.192"), (12.5, "12.50"), (0.0, "0.00")],
)
def test_small_prices_keep_their_digits(price: float, text: str) -> None:
    assert money(price) == text


def many(count: int) -> Offers:
    """Sizes in five regions, three zones, regular and spot."""
    places = [(f"r{region}", str(zone)) for region in range(5) for zone in range(1, 4)]
    return Offers(
        Offer(
            "azure",
            f"size{index}",
            Resources(2 ** (index % 7), 1024 * 2 ** (index % 9)),
            0.01 * (index + 1) * (0.3 if spot else 1),
            region=region,
            zone=zone,
            spot=spot,
        )
        for index in range(count // 30)
        for region, zone in places
        for spot in (False, True)
    )


def test_thirty_thousand_offers_do_not_slow_a_plan_down() -> None:
    offers = many(30_000)
    queue = [
        PendingJob(f"j{index}", "ada", NOW, Resources(1 + index / 100, 1024))
        for index in range(100)
    ]
    FCFS().plan(queue[:1], [], offers, NOW)
    begin = time.process_time()
    table = FCFS().plan(queue, [], offers, NOW)
    assert len(table.placements) == 100
    # Measured: 5 ms. Looking at each offer for each job would take 600.
    assert time.process_time() - begin < 0.1
