"""What a newcomer does: ``make run``, a browser, a server, a notebook, stop, Ctrl-C."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import psutil
import pytest
from playwright.async_api import expect

from skyport_core.client import CoreClient
from skyport_core.model import JobState
from tests.e2e.lab_page import log_in, run_a_cell
from tests.infra import attachments
from tests.infra.browser import chromium, new_page, screenshot
from tests.infra.ports import free_ports
from tests.infra.requirements import needs_browser
from tests.infra.run import short_folder
from tests.infra.terminal import CTRL_C, Terminal
from tests.infra.wait import eventually

pytestmark = needs_browser

CHECKOUT = Path(__file__).parents[2]
CELL = "import os; print('answer', 6 * 7, os.environ['JUPYTERHUB_USER'])"


@pytest.fixture
def home() -> Iterator[Path]:
    """State of the demo."""
    with short_folder("demo") as folder:
        yield folder


def demo_environment(home: Path, port: int) -> dict[str, str]:
    """The environment of a person's shell: nothing of the tests' own Python."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SKYPORT_TEST_RUN")}
    return {**kept, "TERM": "xterm", "PORT": str(port), "SKYPORT_HOME": str(home)}


def listening_or_running(home: Path, port: int) -> list[str]:
    """Processes that name the demo's folder, and whoever listens on its port."""
    found = []
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(home) in line:
            found.append(line)
    connections = psutil.net_connections("tcp")
    return found + [str(c) for c in connections if c.status == "LISTEN" and c.laddr.port == port]


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_newcomer_gets_a_notebook_and_leaves_nothing_running(
    home: Path, tmp_path: Path
) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "make-run.log"
    with (
        attachments.attached("make run", log),
        Terminal(["make", "run"], log, cwd=CHECKOUT, env=demo_environment(home, port)) as terminal,
    ):
        await eventually(lambda: _answers(f"{url}/hub/login"), "hub of the demo", 60)
        async with chromium() as browser, new_page(browser) as page:
            await log_in(page, url, "ann")
            await page.wait_for_selector("form#spawn_form")
            await expect(page.locator("#skyport-options")).to_contain_text("free now")
            await page.select_option("#skyport-machine", "local/local")
            await page.fill("#skyport-cpus", "1")
            await screenshot(page, tmp_path, "form")
            await page.click("form#spawn_form [type=submit]")
            await page.wait_for_selector("#progress-bar", state="attached")
            await expect(page.locator("#progress-message")).to_contain_text(
                re.compile("Starting the server|Logged in|Placed on"), timeout=20_000
            )
            await screenshot(page, tmp_path, "progress")
            await page.wait_for_url("**/lab**", timeout=60_000)
            await page.wait_for_selector(".jp-LauncherCard", timeout=60_000)
            assert await run_a_cell(page, CELL) == "answer 42 ann"
            await screenshot(page, tmp_path, "notebook")
            await page.goto(f"{url}/hub/home")
            await page.click("#stop")
            await expect(page.locator("#stop")).to_be_hidden(timeout=30_000)
        async with CoreClient(home / "core.sock") as client:
            (job,) = await client.list_jobs()
            assert job.state is JobState.CANCELLED
        assert not list(home.glob("gates/local/homes/*/.skyport/jobs/*"))
        terminal.press(CTRL_C)
        terminal.process.wait(30)
    await eventually(lambda: not listening_or_running(home, port), "end of all processes", 15)


async def test_ctrl_c_ends_running_servers_too(home: Path, tmp_path: Path) -> None:
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    log = tmp_path / "make-run.log"
    with (
        attachments.attached("make run", log),
        Terminal(["make", "run"], log, cwd=CHECKOUT, env=demo_environment(home, port)) as terminal,
    ):
        await eventually(lambda: _answers(f"{url}/hub/login"), "hub of the demo", 60)
        async with chromium() as browser, new_page(browser) as page:
            await log_in(page, url, "bob")
            await page.wait_for_selector("form#spawn_form")
            await page.click("form#spawn_form [type=submit]")
            await page.wait_for_url("**/lab**", timeout=60_000)
        terminal.press(CTRL_C)
        terminal.process.wait(30)
    await eventually(lambda: not listening_or_running(home, port), "end of all processes", 15)
    assert not list(home.glob("gates/local/homes/*/.skyport/jobs/*"))
