"""Searching the flavors of all sites, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from skyport_core.flavors import BadCursor, FlavorTable, Row, reason_of
from skyport_core.offering import SiteSnapshot, offers_of
from skyport_core.scheduling import Conditions, Trouble
from skyport_core.scheduling.offers import FAIR
from skyport_core.wire import FlavorQuery
from skyport_gates.gate import Flavor, Node, SSHEndpoint
from tests.core.cloud import GPU, SMALL, terms

MEDIUM = Flavor(
    "Medium", 4, 16384, terms=(terms("northeurope", 0.2), terms("northeurope", 0.05, spot=True))
)
UNKNOWN = Flavor("unknown", 1, 1024, terms=(terms("westeurope", None),))
BENCH = Flavor("bench", cpus=4, memory=4096, capacity=1)


def site(name: str, *flavors: Flavor) -> SiteSnapshot:
    offers = offers_of(name, flavors, can_sleep=True)
    return SiteSnapshot(name, flavors, None, offers, known=True, available=True, reason="")


LAB = SiteSnapshot("lab", (BENCH,), (Node("n1", SSHEndpoint("127.0.0.1")),), known=True)
TABLE = FlavorTable([site("azure", SMALL, GPU, MEDIUM, UNKNOWN), LAB])


def anything(row: Row) -> bool:
    return True


def names(conditions: Conditions = FAIR, **query: Any) -> list[str]:
    rows, total, _ = TABLE.page(FlavorQuery(**query), conditions, anything)
    assert total == len(rows)
    return [f"{row.view.name}@{row.view.region}" for row in rows]


def test_a_flavor_is_one_row_a_region() -> None:
    rows, _, _ = TABLE.page(FlavorQuery(name="small", region="westeurope"), FAIR, anything)
    [view] = [row.view for row in rows]
    assert (view.price, view.spot_price, view.spot) == (0.1, 0.02, True)
    assert (view.zones, view.suspendable, view.storage) == (["1", "2"], True, 64)
    assert view.labels == {"architecture": "x86_64"}


def test_the_cheapest_comes_first_and_the_unknown_last() -> None:
    assert names() == [
        "bench@",
        "small@westeurope",
        "small@northeurope",
        "Medium@northeurope",
        "gpu@westeurope",
        "unknown@westeurope",
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"site": "lab"}, ["bench@"]),
        ({"region": "northeurope"}, ["small@northeurope", "Medium@northeurope"]),
        ({"name": "MED"}, ["Medium@northeurope"]),
        ({"min_cpus": 5}, ["gpu@westeurope"]),
        ({"min_memory": 16384, "max_price": 0.5}, ["Medium@northeurope"]),
        ({"min_gpus": 1}, ["gpu@westeurope"]),
        ({"gpu_type": "t4"}, ["gpu@westeurope"]),
        ({"max_price": 0.1}, ["bench@", "small@westeurope"]),
        ({"max_price": 0.03, "spot": True}, ["small@westeurope"]),
        ({"spot": False, "site": "lab"}, ["bench@"]),
        ({"name": "nothing"}, []),
    ],
)
def test_only_what_matches_is_found(query: dict[str, Any], found: list[str]) -> None:
    assert names(**query) == found


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("name", "Medium@northeurope", "unknown@westeurope"),
        ("cpus", "unknown@westeurope", "gpu@westeurope"),
        ("memory", "unknown@westeurope", "gpu@westeurope"),
        ("spot_price", "small@westeurope", "bench@"),
    ],
)
def test_other_orders(sort: str, first: str, last: str) -> None:
    found = names(sort=sort)
    assert (found[0], found[-1]) == (first, last)


@pytest.mark.parametrize("sort", ["price", "spot_price", "name", "cpus", "memory"])
def test_pages_make_up_the_whole(sort: Any) -> None:
    found: list[str] = []
    query = FlavorQuery(sort=sort, limit=2)
    while True:
        rows, total, after = TABLE.page(query, FAIR, anything)
        assert total == 6
        found += [f"{row.view.name}@{row.view.region}" for row in rows]
        if after is None:
            break
        query = query.model_copy(update={"after": after})
    assert found == names(sort=sort)


def test_a_page_goes_on_where_the_last_ended_although_rows_went() -> None:
    _, _, after = TABLE.page(FlavorQuery(limit=3), FAIR, anything)
    fewer = FlavorTable([site("azure", GPU, MEDIUM, UNKNOWN), LAB])
    rows, _, _ = fewer.page(FlavorQuery(limit=3, after=after), FAIR, anything)
    assert [row.view.name for row in rows] == ["Medium", "gpu", "unknown"]


@pytest.mark.parametrize("after", ["", "?", "bm9uc2Vuc2U", "WyJuYW1lIiwwLDAsIiIsIiIsIiJd"])
def test_a_cursor_of_something_else_is_refused(after: str) -> None:
    with pytest.raises(BadCursor):
        TABLE.page(FlavorQuery(after=after), FAIR, anything)


def test_a_cursor_of_another_order_is_refused() -> None:
    _, _, after = TABLE.page(FlavorQuery(limit=1, sort="name"), FAIR, anything)
    with pytest.raises(BadCursor):
        TABLE.page(FlavorQuery(after=after, sort="cpus"), FAIR, anything)


def test_a_row_is_available_while_one_of_its_offers_is() -> None:
    def trouble(offer: Any) -> Trouble | None:
        return Trouble("full") if offer.zone == "1" else None

    assert "small@westeurope" in names(Conditions(trouble), available=True)


def test_a_row_of_which_no_offer_is_left_says_why() -> None:
    conditions = Conditions(lambda offer: Trouble("full") if offer.region == "westeurope" else None)
    assert names(conditions, available=False, name="small") == ["small@westeurope"]
    rows, _, _ = TABLE.page(FlavorQuery(name="small"), FAIR, anything)
    assert [reason_of(row, conditions, anything) for row in rows] == ["full", ""]


def test_rows_of_a_closed_site_say_why() -> None:
    conditions = Conditions(lambda offer: None, {"azure": Trouble("no credential")})
    assert names(conditions, available=True) == ["bench@"]


def test_fixed_nodes_are_available_while_one_is_up() -> None:
    rows, total, _ = TABLE.page(FlavorQuery(site="lab", available=True), FAIR, lambda row: False)
    assert (rows, total) == ([], 0)
