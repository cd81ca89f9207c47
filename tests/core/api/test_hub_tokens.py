"""The hub's word on tokens: fresh, asked for once, and what holds while the hub is away."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tornado.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine

from skyport_core.api.doors.hub import GRACE, HubIdentity, HubOptions
from skyport_core.api.doors.hub_tokens import KEPT, WAITING, HubAway, HubTokens
from skyport_core.api.errors import ApiError
from skyport_core.caller import Caller
from skyport_core.model import BY_HUB
from skyport_core.pki import Signing

OPTIONS = HubOptions("http://127.0.0.1:1", "/services/skyport/", "http://hub/hub/api", "secret")
ACCESS = "access:services!service=skyport"
READ, WRITE, ADMIN = (f"custom:skyport:{word}" for word in ("jobs:read", "jobs:write", "admin"))
CERTIFICATES = "custom:skyport:certificates"


class Hub:
    """Knows tokens; counts what it is asked."""

    def __init__(self) -> None:
        self.models: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.away = False
        self.quick = ""
        self.now = 100.0
        self.go = asyncio.Event()
        self.go.set()

    def knows(self, token: str, *scopes: str, kind: str = "user", name: str = "alice") -> None:
        self.models[token] = {"kind": kind, "name": name, "scopes": [ACCESS, *scopes]}

    async def __call__(self, token: str) -> dict[str, Any] | None:
        self.asked.append(token)
        if token != self.quick:
            await self.go.wait()
        if self.away:
            raise HubAway("connection refused")
        return self.models.get(token)


@pytest.fixture
def hub() -> Hub:
    hub = Hub()
    hub.knows("abc", READ, WRITE)
    return hub


@pytest.fixture
def tokens(hub: Hub) -> HubTokens:
    return HubTokens(hub, interval=0.5, timeout=0.05, clock=lambda: hub.now)


@pytest.fixture
def identity(tokens: HubTokens) -> HubIdentity:
    return HubIdentity(tokens, OPTIONS, lambda request: None)


def request(
    token: str | None = "abc", path: str = "/api/v1/jobs", method: str = "GET"
) -> HTTPServerRequest:
    headers = HTTPHeaders({"Host": "hub"})
    if token:
        headers["Authorization"] = f"token {token}"
    line = RequestStartLine(method, f"/services/skyport{path}", "HTTP/1.1")
    return HTTPServerRequest(start_line=line, headers=headers)


async def refusal(identity: HubIdentity, request: HTTPServerRequest) -> ApiError:
    with pytest.raises(ApiError) as refused:
        await identity(request)
    return refused.value


async def test_many_who_ask_at_once_are_one_question(tokens: HubTokens, hub: Hub) -> None:
    await asyncio.gather(*(tokens.look_up("abc") for _ in range(50)))
    assert hub.asked == ["abc"]


async def test_an_answer_holds_from_when_it_was_asked(tokens: HubTokens, hub: Hub) -> None:
    await tokens.look_up("abc")
    del hub.models["abc"]
    hub.now += 0.49
    assert await tokens.look_up("abc") is not None
    hub.now += 0.02
    assert await tokens.look_up("abc") is None


async def test_who_gives_up_does_not_take_others_along(tokens: HubTokens, hub: Hub) -> None:
    hub.go.clear()
    first = asyncio.create_task(tokens.look_up("abc"))
    second = asyncio.create_task(tokens.look_up("abc"))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    hub.go.set()
    assert await second is not None


async def test_a_hub_that_hangs_is_away(tokens: HubTokens, hub: Hub) -> None:
    hub.go.clear()
    with pytest.raises(HubAway, match="within"):
        await tokens.look_up("abc")


async def test_made_up_tokens_do_not_fill_the_memory(tokens: HubTokens, hub: Hub) -> None:
    for number in range(KEPT + 10):
        await tokens.look_up(f"made-up-{number}")
    assert tokens.known("made-up-0") is None
    assert tokens.known(f"made-up-{KEPT + 9}") is not None


async def test_made_up_tokens_hold_up_nobody_else(tokens: HubTokens, hub: Hub) -> None:
    await tokens.look_up("abc")
    hub.now += 1
    hub.go.clear()
    hub.quick = "abc"
    names = [f"made-up-{number}" for number in range(WAITING)]
    made_up = [asyncio.create_task(tokens.look_up(name)) for name in names]
    await asyncio.sleep(0)
    with pytest.raises(HubAway, match="wait for the hub"):
        await tokens.look_up("one more")
    assert await tokens.look_up("abc") is not None
    hub.go.set()
    await asyncio.gather(*made_up, return_exceptions=True)


# -- who a token makes its holder ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scopes", "kind", "caller"),
    [
        ([READ], "user", Caller("x", may_write=False)),
        ([READ, WRITE], "user", Caller("x")),
        ([f"{READ}!user=x", f"{WRITE}!user=x"], "user", Caller("x")),
        ([f"{READ}!user=y", f"{WRITE}!user=y"], "user", Caller("x", may_write=False)),
        ([READ, WRITE, ADMIN], "user", Caller("x", admin=True)),
        ([f"{ADMIN}!user=x"], "user", Caller("x")),
        ([READ, WRITE], "service", Caller("service/x")),
        (
            [READ, WRITE, ADMIN],
            "service",
            Caller("service/x", admin=True, may_name_owner=True, trusted=True),
        ),
    ],
)
def test_scopes_make_the_caller(
    identity: HubIdentity, scopes: list[str], kind: str, caller: Caller
) -> None:
    assert identity.caller_of({"kind": kind, "name": "x", "scopes": [ACCESS, *scopes]}) == caller


async def test_without_the_services_scope_nobody_comes_in(identity: HubIdentity, hub: Hub) -> None:
    hub.models["abc"]["scopes"] = [READ, "access:services!service=other"]
    error = await refusal(identity, request())
    assert (error.status, ACCESS in error.message) == (403, True)


async def test_without_a_scope_of_jobs_there_is_only_what_is_the_same_for_all(
    identity: HubIdentity, hub: Hub
) -> None:
    hub.knows("new")
    error = await refusal(identity, request("new"))
    assert (error.status, READ in error.message) == (403, True)
    for path in ("/", "/api/docs", "/api/v1/openapi.json", "/api/v1/version"):
        assert (await identity(request("new", path))).name == "alice"


@pytest.mark.parametrize("token", [None, "unknown"])
async def test_a_missing_or_unknown_token_is_refused(
    identity: HubIdentity, token: str | None
) -> None:
    error = await refusal(identity, request(token))
    assert (error.status, error.headers["WWW-Authenticate"][:6]) == (401, "Bearer")


async def test_the_cookie_opens_nothing_that_is_anybodys(tokens: HubTokens) -> None:
    identity = HubIdentity(tokens, OPTIONS, lambda request: "abc")
    assert (await identity(request(None, "/api/docs"))).name == "alice"
    for path, method in [
        ("/api/v1/jobs", "GET"),
        ("/api/v1/health", "GET"),
        ("/api/docs", "POST"),
        ("/api/v1/version", "DELETE"),
    ]:
        assert (await refusal(identity, request(None, path, method))).status == 401


# -- while a connection is open --------------------------------------------------------------------


async def test_a_revoked_token_is_not_valid_any_more(identity: HubIdentity, hub: Hub) -> None:
    credential = (await identity(request())).credential
    assert credential is not None
    assert await credential.valid()
    del hub.models["abc"]
    hub.now += 1
    assert not await credential.valid()


async def test_nor_is_one_that_lost_a_scope(identity: HubIdentity, hub: Hub) -> None:
    credential = (await identity(request())).credential
    assert credential is not None
    hub.knows("abc", READ)
    hub.now += 1
    assert not await credential.valid()


async def test_nor_is_one_that_lost_the_only_scope_it_had(identity: HubIdentity, hub: Hub) -> None:
    hub.knows("abc", READ)
    credential = (await identity(request())).credential
    assert credential is not None
    hub.knows("abc")
    hub.now += 1
    assert not await credential.valid()


@pytest.mark.parametrize(
    ("scopes", "kind", "may"),
    [
        ([WRITE, CERTIFICATES], "user", True),
        ([WRITE], "user", False),
        ([WRITE, ADMIN], "user", False),
        ([WRITE, CERTIFICATES], "service", False),
    ],
)
def test_certificates_take_a_scope_of_their_own(
    identity: HubIdentity, scopes: list[str], kind: str, may: bool
) -> None:
    caller = identity.caller_of({"kind": kind, "name": "x", "scopes": [ACCESS, *scopes]})
    assert caller is not None
    assert caller.signing == (Signing(BY_HUB) if may else None)


async def test_while_the_hub_is_away_nobody_comes_in_and_open_streams_wait(
    identity: HubIdentity, hub: Hub
) -> None:
    credential = (await identity(request())).credential
    assert credential is not None
    hub.away = True
    hub.now += 1
    error = await refusal(identity, request())
    assert (error.status, "Retry-After" in error.headers) == (503, True)
    assert await credential.valid()
    hub.now += GRACE
    assert not await credential.valid()


async def test_neither_key_nor_repr_gives_the_token_away(identity: HubIdentity, hub: Hub) -> None:
    hub.knows("f00dfeed", READ)
    caller = await identity(request("f00dfeed"))
    assert caller.credential is not None
    assert "f00dfeed" not in caller.credential.key + repr(caller)
    assert "secret" not in repr(OPTIONS)
