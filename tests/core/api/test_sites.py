"""``/sites``, ``/flavors``, ``/images``, ``/quotas``, ``/nodes`` and ``/health``."""

from __future__ import annotations

import pytest

from skyport_core.wire import FlavorQuery

from .served import Http, ServedCore

NOUNS = [
    *(("sites", "lab"), ("flavors", "big"), ("nodes", "n1")),
    *(("images", "ubuntu"), ("quotas", "cores")),
]


@pytest.mark.parametrize(("noun", "name"), NOUNS)
async def test_each_noun_is_listed(http: Http, noun: str, name: str) -> None:
    answer = await http("GET", f"/{noun}")
    assert [view["name"] for view in answer.json[noun]] == [name]


async def test_health_names_the_core(http: Http) -> None:
    answer = await http("GET", "/health")
    assert answer.json["core_id"] == "test"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_node_is_drained_and_resumed(http: Http) -> None:
    body = {"drained": True, "reason": "disk swap"}
    drained = await http("PATCH", "/nodes/lab/n1", json=body)
    assert (drained.json["state"], drained.json["reason"]) == ("drained", "disk swap")
    resumed = await http("PATCH", "/nodes/lab/n1", json={"drained": False})
    assert resumed.json["state"] == "up"


async def test_an_unknown_node_is_404(http: Http) -> None:
    answer = await http("PATCH", "/nodes/lab/n9", json={"drained": True})
    assert (answer.status, answer.error["code"]) == (404, "node_not_found")
    assert "n9" in answer.error["message"]


async def test_a_patch_without_drained_is_422(http: Http) -> None:
    answer = await http("PATCH", "/nodes/lab/n1", json={"reason": "?"})
    assert (answer.status, answer.error["field"]) == (422, "drained")


async def test_a_query_of_flavors_is_passed_on(core: ServedCore, http: Http) -> None:
    query = "region=west&min_cpus=2.5&min_gpus=1&max_price=0.5&spot=true&sort=cpus&limit=7"
    answer = await http("GET", f"/flavors?{query}")
    assert answer.status == 200
    [asked] = core.sites.queries
    assert asked == FlavorQuery(
        region="west", min_cpus=2.5, min_gpus=1, max_price=0.5, spot=True, sort="cpus", limit=7
    )


async def test_a_page_tells_how_many_there_are_and_where_it_goes_on(
    core: ServedCore, http: Http
) -> None:
    core.sites.flavor_count = 5
    answer = await http("GET", "/flavors?limit=2")
    assert (len(answer.json["flavors"]), answer.json["total"]) == (2, 5)
    assert answer.json["next"] == "2"
    last = await http("GET", "/flavors?limit=2&after=4")
    assert last.json["next"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("min_cpus=many", "min_cpus"),
        ("spot=maybe", "spot"),
        ("sort=colour", "sort"),
        ("colour=red", "colour"),
    ],
)
async def test_a_query_that_makes_no_sense_is_422(http: Http, query: str, field: str) -> None:
    answer = await http("GET", f"/flavors?{query}")
    assert (answer.status, answer.error["field"]) == (422, field)
    assert field in answer.error["message"]
