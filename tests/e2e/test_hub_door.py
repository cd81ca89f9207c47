"""The core behind a real JupyterHub's proxy, as the embedded configuration sets it up."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import expect

from tests.e2e.lab_page import log_in
from tests.infra.browser import chromium, new_page, screenshot
from tests.infra.hub import PASSWORD, Hub
from tests.infra.nodes import CHECKOUT
from tests.infra.ports import free_ports
from tests.infra.requirements import needs_browser
from tests.infra.run import short_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

SKYPORT = "/services/skyport"
ACCESS = "access:services!service=skyport"
READ, WRITE = "custom:skyport:jobs:read", "custom:skyport:jobs:write"
ROBOT = uuid.uuid4().hex

CONFIG = f"""
own = c.JupyterHub.bind_url, c.JupyterHub.hub_port, c.JupyterHub.services
proxy = c.ConfigurableHTTPProxy.api_url, c.ConfigurableHTTPProxy.pid_file
load_subconfig("{CHECKOUT}/jupyterhub_config.py")
c.JupyterHub.bind_url, c.JupyterHub.hub_port = own[:2]
c.JupyterHub.services += [*own[2], {{"name": "robot", "api_token": "{ROBOT}"}}]
c.ConfigurableHTTPProxy.api_url, c.ConfigurableHTTPProxy.pid_file = proxy
c.JupyterHub.load_roles += [
    {{
        "name": "robots",
        "scopes": ["{ACCESS}", "custom:skyport:admin"],
        "services": ["robot"],
    }}
]
c.JupyterHub.load_roles[1]["users"] = ["root"]
"""


@dataclass
class Behind:
    """The hub with the core behind it."""

    hub: Hub
    session: aiohttp.ClientSession

    async def token(self, user: str, *scopes: str) -> dict[str, Any]:
        """A new token of a user, with ``id`` and ``token``; without scopes: all that is hers."""
        await self.hub.add_user(user)
        body = {"scopes": scopes} if scopes else {}
        made: dict[str, Any] = await self.hub.api("POST", f"/users/{user}/tokens", body)
        return made

    async def revoke(self, user: str, token: dict[str, Any]) -> None:
        await self.hub.api("DELETE", f"/users/{user}/tokens/{token['id']}")

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> Any:
        headers = {"Authorization": f"token {token}"} if token else {}
        url = f"{self.hub.url}{SKYPORT}{path}"
        return self.session.request(method, url, headers=headers, allow_redirects=False, **options)

    async def api(
        self, method: str, path: str, token: str | None = None, **options: Any
    ) -> tuple[int, Any]:
        async with self.request(method, f"/api/v1{path}", token, **options) as answer:
            return answer.status, await answer.json() if answer.content_length else None

    async def submit(self, token: str, **fields: Any) -> tuple[str, int, Any]:
        """A job that waits until it is released; its id, the status and the body."""
        job = str(uuid.uuid4())
        body = {"kind": "batch", "command": ["true"], "hold": True, **fields}
        return job, *await self.api("PUT", f"/jobs/{job}", token, json=body)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def behind() -> AsyncIterator[Behind]:
    (port,) = free_ports(1)
    with short_folder("door") as home:
        environment = {"PORT": str(port - 82), "SKYPORT_HOME": str(home)}
        async with Hub(CONFIG, env=environment) as hub, aiohttp.ClientSession() as session:
            yield Behind(hub, session)


async def test_a_token_of_a_user_acts_for_that_user(behind: Behind) -> None:
    token = (await behind.token("ann"))["token"]
    job, status, body = await behind.submit(token)
    assert (status, body["owner"]) == (201, "ann")
    assert (await behind.api("GET", f"/jobs/{job}", token))[0] == 200
    assert (await behind.api("DELETE", f"/jobs/{job}", token))[0] == 202


async def test_a_token_for_reading_changes_nothing(behind: Behind) -> None:
    token = (await behind.token("ann", ACCESS, READ))["token"]
    assert (await behind.api("GET", "/jobs", token))[0] == 200
    _, status, body = await behind.submit(token)
    assert (status, body["error"]["code"]) == (403, "forbidden")


async def test_a_token_without_the_scopes_does_not_come_in(behind: Behind) -> None:
    token = (await behind.token("ann", "users:activity!user"))["token"]
    status, body = await behind.api("GET", "/jobs", token)
    assert (status, ACCESS in body["error"]["message"]) == (403, True)


async def test_without_a_token_programs_are_refused_and_browsers_log_in(behind: Behind) -> None:
    assert (await behind.api("GET", "/jobs"))[0] == 401
    async with behind.request("GET", "/") as answer:
        assert answer.status == 302
        assert answer.headers["Location"].startswith(f"{SKYPORT}/login?next=")


async def test_users_do_not_meet_and_admins_see_all(behind: Behind) -> None:
    ann, bob, root = [(await behind.token(name))["token"] for name in ("ann", "bob", "root")]
    job, _, _ = await behind.submit(ann)
    assert (await behind.api("GET", f"/jobs/{job}", bob))[0] == 404
    assert (await behind.api("GET", f"/jobs/{job}", root))[0] == 200
    assert (await behind.api("DELETE", f"/jobs/{job}", root))[0] == 202


async def test_a_service_with_the_admin_scope_acts_for_users_and_users_do_not(
    behind: Behind,
) -> None:
    _, status, body = await behind.submit(ROBOT, owner="ann")
    assert (status, body["owner"]) == (201, "ann")
    for name in ("ann", "root"):
        token = (await behind.token(name))["token"]
        _, status, body = await behind.submit(token, owner="bob")
        assert (status, body["error"]["field"]) == (403, "owner")


async def test_a_revoked_token_is_refused_within_a_second_on_open_streams_too(
    behind: Behind,
) -> None:
    token = await behind.token("ann")
    job, _, _ = await behind.submit(token["token"])
    async with behind.request("GET", f"/api/v1/jobs/{job}/events", token["token"]) as stream:
        assert stream.status == 200
        await stream.content.readline()
        revoked = time.monotonic()
        await behind.revoke("ann", token)
        with contextlib.suppress(aiohttp.ClientError):
            await stream.read()
    closed = time.monotonic()
    status, body = await behind.api("GET", "/jobs", token["token"])
    assert (status, body["error"]["code"]) == (401, "unauthorized")
    assert closed - revoked < 1


@needs_browser
async def test_a_browser_logs_in_and_reads_the_reference(behind: Behind, tmp_path: Path) -> None:
    url = f"{behind.hub.url}{SKYPORT}"
    async with chromium() as browser, new_page(browser) as page:
        await log_in(page, behind.hub.url, "ann", PASSWORD)
        await page.wait_for_url("**/hub/**")
        await page.goto(f"{url}/")
        await expect(page.locator("body")).to_contain_text("You are ann")
        await page.click("text=Reference of the REST API")
        await page.wait_for_url(f"{url}/api/docs")
        entry = page.locator("article", has_text="/jobs/{id}/requeue")
        await page.fill("#search", "requeue POST")
        await expect(entry).to_be_visible()
        await expect(page.locator("#get_health")).to_be_hidden()
        await screenshot(page, tmp_path, "reference")
        # What a script in some user's server could do in ann's browser, on the same site:
        await page.goto(f"{behind.hub.url}/hub/home")
        assert await page.evaluate(f"fetch('{SKYPORT}/api/v1/jobs').then(a => a.status)") == 401
        async with page.expect_popup() as opened:
            await page.evaluate(f"window.other = window.open('{SKYPORT}/')")
        await (await opened.value).wait_for_selector("text=You are ann")
        look = "() => { try { return other.document.title } catch (error) { return error.name } }"
        assert await page.evaluate(look) == "SecurityError"
