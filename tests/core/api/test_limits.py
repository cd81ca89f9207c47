"""One caller cannot have it all; parts of the installation are not held back."""

from __future__ import annotations

import asyncio

import pytest
from tornado.httputil import HTTPServerRequest

from skyport_core.api.errors import ApiError
from skyport_core.api.limits import KEPT, MAX_URL, Limits, Rates, stays_open
from skyport_core.api.operation import Operation
from skyport_core.caller import Caller

from .served import JOB, Http, ServedCore

ALICE = Caller("alice")
BOB = Caller("bob")
HUB = Caller("service/hub", trusted=True)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limits(clock: Clock) -> Limits:
    return Limits(Rates(rate=2, burst=3, streams=2), clock=clock)


def use_up(limits: Limits, caller: Caller, count: int = 3) -> None:
    for _ in range(count):
        limits.admit(caller)


def test_a_burst_is_taken_and_no_more(limits: Limits) -> None:
    use_up(limits, ALICE)
    with pytest.raises(ApiError) as refused:
        limits.admit(ALICE)
    assert (refused.value.status, refused.value.headers) == (429, {"Retry-After": "1"})
    assert "alice" in refused.value.message


def test_after_retry_after_it_works_again(limits: Limits, clock: Clock) -> None:
    use_up(limits, ALICE)
    clock.now += 1
    use_up(limits, ALICE, 2)
    with pytest.raises(ApiError):
        limits.admit(ALICE)


def test_callers_do_not_share(limits: Limits) -> None:
    use_up(limits, ALICE)
    use_up(limits, BOB)


def test_the_trusted_are_not_held(limits: Limits) -> None:
    use_up(limits, HUB, 100)
    assert len(limits) == 0


def test_no_rate_is_no_limit() -> None:
    use_up(Limits(Rates(rate=0, burst=1)), ALICE, 100)


def test_the_quiet_are_forgotten(clock: Clock) -> None:
    limits = Limits(Rates(rate=2, burst=3), clock=clock)
    for number in range(5 * KEPT):
        limits.admit(Caller(f"user{number}"))
        clock.now += 0.01
    assert len(limits) <= KEPT


async def test_a_stream_counts_until_its_request_ends(limits: Limits) -> None:
    over = asyncio.Event()
    tasks = [asyncio.create_task(over.wait()) for _ in range(2)]
    for task in tasks:
        limits.hold(ALICE, task)
    with pytest.raises(ApiError) as refused:
        limits.hold(ALICE, tasks[0])
    assert refused.value.status == 429
    assert "Retry-After" in refused.value.headers
    limits.hold(BOB, tasks[0])
    over.set()
    await asyncio.gather(*tasks)
    limits.hold(ALICE, tasks[0])


@pytest.mark.parametrize(
    ("operation", "follow", "open_"),
    [
        (Operation("Terminal", websocket=True), None, True),
        (Operation("Events", answers={200: "text/event-stream"}), None, True),
        (Operation("Events", answers={200: "text/event-stream"}), "false", False),
        (Operation("Log", answers={200: "text/plain"}), None, False),
        (Operation("Log", answers={200: "text/plain"}), "true", True),
        (None, None, False),
    ],
)
def test_what_lasts_is_known(operation: Operation | None, follow: str | None, open_: bool) -> None:
    assert stays_open(operation, follow) is open_


# -- at a door -------------------------------------------------------------------------------------


async def as_alice(request: HTTPServerRequest) -> Caller:
    return ALICE


@pytest.fixture
def limited(core: ServedCore, limits: Limits) -> ServedCore:
    core.application.settings.update(identify=as_alice, limits=limits)
    return core


async def test_one_request_too_many_is_told_when_to_come_back(
    limited: ServedCore, http: Http
) -> None:
    for _ in range(3):
        assert (await http("GET", "/health")).status == 200
    answer = await http("GET", "/health")
    assert (answer.status, answer.error["code"]) == (429, "too_many")
    assert answer.headers["Retry-After"] == "1"


async def test_one_stream_too_many_is_refused_until_one_ends(
    limited: ServedCore, http: Http
) -> None:
    await limited.submit(JOB)
    url = f"http://core/api/v1/jobs/{JOB}/events"
    async with http.session.get(url) as first, http.session.get(url) as second:
        assert (first.status, second.status) == (200, 200)
        assert (await http("GET", f"/jobs/{JOB}/events")).status == 429


async def test_an_endless_url_is_refused(core: ServedCore, http: Http) -> None:
    answer = await http("GET", "/jobs?name=" + "x" * MAX_URL)
    assert (answer.status, answer.error["code"]) == (414, "uri_too_long")
