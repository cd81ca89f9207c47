"""``/partitions`` and ``/partitions/{name}``."""

from __future__ import annotations

import pytest
from tornado.httputil import HTTPServerRequest

from skyport_core.caller import Caller
from skyport_core.model import PartitionState

from .served import Http, ServedCore


@pytest.fixture
def alice(core: ServedCore) -> None:
    """All requests of the test come from a user without rights of her own."""

    async def identify(request: HTTPServerRequest) -> Caller:
        return Caller("alice")

    core.application.settings["identify"] = identify


async def test_a_machine_is_shown_with_all_that_is_known(core: ServedCore, http: Http) -> None:
    record = await core.keep()
    [view] = (await http("GET", "/partitions")).json["partitions"]
    assert (view["name"], view["owner"], view["keep"]) == ("p1", "alice", "desk")
    assert (view["flavor"], view["region"], view["zone"]) == ("small", "westeurope", "1")
    assert (view["spot"], view["price"], view["state"]) == (True, 0.0517, "SUSPENDED")
    assert record.deadline is not None
    assert view["expires_at"] == record.deadline.isoformat().replace("+00:00", "Z")


async def test_an_admin_sees_all_or_those_of_one_owner(core: ServedCore, http: Http) -> None:
    await core.keep("p1", "alice")
    await core.keep("p2", "bob")
    answer = await http("GET", "/partitions")
    assert [view["name"] for view in answer.json["partitions"]] == ["p1", "p2"]
    answer = await http("GET", "/partitions?owner=bob")
    assert [view["name"] for view in answer.json["partitions"]] == ["p2"]


@pytest.mark.usefixtures("alice")
async def test_others_see_their_own(core: ServedCore, http: Http) -> None:
    await core.keep("p1", "alice")
    await core.keep("p2", "bob")
    answer = await http("GET", "/partitions")
    assert [view["name"] for view in answer.json["partitions"]] == ["p1"]
    assert (await http("GET", "/partitions?owner=bob")).status == 403


async def test_what_is_gone_is_not_listed(core: ServedCore, http: Http) -> None:
    await core.store.update_partition(await core.keep(), state=PartitionState.DELETED)
    assert (await http("GET", "/partitions")).json["partitions"] == []


@pytest.mark.usefixtures("alice")
async def test_an_owner_deletes_a_machine(core: ServedCore, http: Http) -> None:
    await core.keep()
    answer = await http("DELETE", "/partitions/p1")
    assert (answer.status, answer.json["target"]) == (202, "DELETED")


async def test_a_machine_in_use_is_409(core: ServedCore, http: Http) -> None:
    await core.keep()
    core.partitions.busy.add("p1")
    answer = await http("DELETE", "/partitions/p1")
    assert (answer.status, answer.error["code"]) == (409, "in_use")


@pytest.mark.usefixtures("alice")
@pytest.mark.parametrize("name", ["p2", "unknown"])
async def test_what_is_not_ones_own_is_404(core: ServedCore, http: Http, name: str) -> None:
    await core.keep("p2", "bob")
    answer = await http("DELETE", f"/partitions/{name}")
    assert (answer.status, answer.error["code"]) == (404, "partition_not_found")
    assert name in answer.error["message"]
