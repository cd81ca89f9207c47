"""What strangers can do with the addresses by which browsers log in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from skyport_core.api.doors import hub_login

from .behind import Behind, behind_hub

LOGIN, CALLBACK = "/login", "/oauth_callback"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Behind]:
    async with behind_hub(tmp_path) as hub:
        yield hub


@pytest.fixture
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def get(
    browser: aiohttp.ClientSession, url: str, **headers: str
) -> tuple[int, aiohttp.ClientResponse]:
    async with browser.get(url, headers=headers, allow_redirects=False) as answer:
        await answer.read()
        return answer.status, answer


async def begun(hub: Behind, browser: aiohttp.ClientSession) -> tuple[str, str]:
    """The state of a new login, and the cookie that goes with it."""
    status, answer = await get(browser, hub.url + LOGIN)
    place = urlsplit(answer.headers["Location"])
    assert (status, place.path) == (302, "/hub/api/oauth2/authorize")
    cookies: SimpleCookie = SimpleCookie(answer.headers["Set-Cookie"])
    [cookie] = [f"{name}={morsel.value}" for name, morsel in cookies.items()]
    return parse_qs(place.query)["state"][0], cookie


@pytest.mark.parametrize("path", [LOGIN, CALLBACK])
@pytest.mark.parametrize(("method", "status"), [("POST", b"405"), ("PUT", b"405"), ("GET", b"413")])
async def test_a_body_is_not_taken(hub: Behind, path: str, method: str, status: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    line = f"{method} /services/skyport{path} HTTP/1.1\r\nHost: x\r\n"
    writer.write(f"{line}Content-Length: 200000000\r\n\r\n".encode() + b"x" * 1000)
    answer = await asyncio.wait_for(reader.read(), 5)
    assert answer.split()[1] == status
    writer.close()


async def test_an_address_may_not_be_long(hub: Behind, browser: aiohttp.ClientSession) -> None:
    status, _ = await get(browser, f"{hub.url}{LOGIN}?next={'x' * 9000}")
    assert status == 414


async def test_who_has_begun_no_login_ends_none(
    hub: Behind, browser: aiohttp.ClientSession
) -> None:
    url = f"{hub.url}{CALLBACK}?code=x&state=y"
    status, _ = await get(browser, url, Authorization="token made-up")
    assert (status, hub.asked) == (403, [])


async def test_a_login_is_ended_by_the_browser_that_began_it(
    hub: Behind, browser: aiohttp.ClientSession
) -> None:
    state, cookie = await begun(hub, browser)
    other, _ = await begun(hub, browser)
    status, _ = await get(browser, f"{hub.url}{CALLBACK}?code=x&state={other}", Cookie=cookie)
    assert (status, hub.asked) == (403, [])
    hub.go.set()
    await get(browser, f"{hub.url}{CALLBACK}?code=x&state={state}", Cookie=cookie)
    assert hub.asked == ["/hub/api/oauth2/token"]


async def test_a_hub_that_hangs_is_not_waited_for(
    hub: Behind, browser: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_login, "PATIENCE", 0.1)
    state, cookie = await begun(hub, browser)
    status, answer = await get(browser, f"{hub.url}{CALLBACK}?code=x&state={state}", Cookie=cookie)
    assert (status, answer.headers["Retry-After"]) == (503, "2")


async def test_few_logins_are_ended_at_once(hub: Behind, browser: aiohttp.ClientSession) -> None:
    logins = [await begun(hub, browser) for _ in range(hub_login.AT_ONCE + 1)]

    async def end(state: str, cookie: str) -> Any:
        url = f"{hub.url}{CALLBACK}?code=x&state={state}"
        return (await get(browser, url, Cookie=cookie))[0]

    ends = [asyncio.create_task(end(*login)) for login in logins]
    done, waiting = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    assert ([one.result() for one in done], len(waiting)) == ([503], hub_login.AT_ONCE)
    hub.go.set()
    assert 503 not in await asyncio.gather(*waiting)


def test_the_oldest_logins_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_login, "MOST_LOGINS", 2)
    oauth: Any = hub_login.make_oauth("/services/skyport", "skyport", "http://hub/hub/api", "x")
    states = [oauth.generate_state(f"/{number}") for number in range(3)]
    assert [oauth.get_next_url(state) for state in states] == ["/services/skyport/", "/1", "/2"]
