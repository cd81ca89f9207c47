"""``/sites``, ``/flavors``, ``/nodes`` and ``/health``."""

from __future__ import annotations

import pytest

from .served import Http


@pytest.mark.parametrize(("noun", "name"), [("sites", "lab"), ("flavors", "big"), ("nodes", "n1")])
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
