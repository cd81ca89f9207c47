"""What a job is given that its caller may ask for, and what not."""

from __future__ import annotations

import pytest

from skyport_core.api.errors import ApiError
from skyport_core.api.rights import check_forwards, check_rights, is_of_this_machine
from skyport_core.caller import Caller
from skyport_core.wire import JobRequest

BOB = Caller("bob")
BOB_AT_DESK = Caller("bob", peer="192.0.2.7")
ADMIN = Caller("root", admin=True)
HUB = Caller("service/hub", admin=True, may_name_owner=True)


def asking(**fields: object) -> JobRequest:
    return JobRequest.model_validate({"command": ["true"], **fields})


def forward(place: str) -> JobRequest:
    return asking(forwards={"api": place})


@pytest.mark.parametrize(
    ("place", "allowed"),
    [
        ("db.example.org:5432", ["db.example.org:5432"]),
        ("DB.example.org.:5432", ["db.example.org:5432"]),
        ("db.example.org:1", ["db.example.org:*"]),
        ("[2001:db8::1]:80", ["[2001:db8:0::1]:80"]),
        ("192.0.2.7:8888", []),
        ("[::ffff:192.0.2.7]:8888", []),
    ],
)
def test_to_its_own_machine_and_what_is_listed(place: str, allowed: list[str]) -> None:
    check_forwards(BOB_AT_DESK, forward(place), allowed)


@pytest.mark.parametrize(
    "place",
    ["127.0.0.1:5432", "db.example.org:5433", "192.0.2.8:8888", "127.96.0.1:8888", "[::1]:1"],
)
def test_nothing_else_of_the_surroundings_is_opened(place: str) -> None:
    with pytest.raises(ApiError) as refused:
        check_forwards(BOB_AT_DESK, forward(place), ["db.example.org:5432"])
    error = refused.value
    assert (error.status, error.field) == (403, "forwards.api")
    for word in (place, "192.0.2.7", "db.example.org:5432"):
        assert word in error.message


@pytest.mark.parametrize("place", ["127.0.0.1", "127.96.0.1", "::1", "::ffff:127.0.0.1"])
def test_whoever_is_logged_in_at_the_cores_machine_gets_no_way_to_it(place: str) -> None:
    host = f"[{place}]" if ":" in place else place
    with pytest.raises(ApiError) as refused:
        check_forwards(Caller("bob", peer=place), forward(f"{host}:80"), [])
    assert "ports of its own machine" not in refused.value.message
    check_forwards(Caller("bob", peer=place), forward(f"{host}:80"), [f"{host}:*"])


def test_addresses_of_the_cores_machine_are_known_by_the_kernel() -> None:
    assert is_of_this_machine("127.0.0.1")
    assert is_of_this_machine("0.0.0.0")
    assert is_of_this_machine("no address")
    assert not is_of_this_machine("192.0.2.7")
    assert not is_of_this_machine("2001:db8::7")


def test_ways_to_the_callers_machine_can_be_switched_off() -> None:
    with pytest.raises(ApiError):
        check_forwards(BOB_AT_DESK, forward("192.0.2.7:80"), [], peers=False)


def test_a_door_that_does_not_know_the_machine_opens_no_way_to_any() -> None:
    with pytest.raises(ApiError):
        check_forwards(BOB, forward("127.0.0.1:80"), [])


@pytest.mark.parametrize("caller", [ADMIN, BOB])
def test_only_the_trusted_open_any(caller: Caller) -> None:
    check_forwards(HUB, forward("127.0.0.1:8081"), [])
    with pytest.raises(ApiError):
        check_forwards(caller, forward("127.0.0.1:8081"), [])


def test_nobody_logs_in_to_nodes_as_somebody_else() -> None:
    with pytest.raises(ApiError) as refused:
        check_rights(BOB, asking(username="alice"), [])
    assert (refused.value.status, refused.value.field) == (403, "username")
    assert check_rights(BOB, asking(username="bob"), []) == "bob"
    assert check_rights(HUB, asking(username="a1", owner="alice"), []) == "alice"
