"""What a person does in a browser: logs in at the hub and runs a cell in JupyterLab."""

from __future__ import annotations

import contextlib

from playwright.async_api import Page
from playwright.async_api import TimeoutError as PlaywrightTimeout


async def log_in(page: Page, url: str, name: str, password: str = "any") -> None:
    """Log in by the hub's form."""
    await page.goto(f"{url}/hub/login")
    await page.fill("input[name=username]", name)
    await page.fill("input[name=password]", password)
    await page.click("#login_submit")


async def run_a_cell(page: Page, code: str) -> str:
    """Open a notebook from JupyterLab's launcher and run one cell; what it prints."""
    await page.click(".jp-LauncherCard[data-category=Notebook] >> nth=0")
    await page.wait_for_selector(
        ".jp-Notebook-ExecutionIndicator[data-status=idle]", timeout=60_000
    )
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    await cell.click()
    await page.keyboard.type(code)
    output = page.locator(".jp-OutputArea-output pre").first
    for _ in range(5):
        # JupyterLab, with or without a hub, may lose what is run in a kernel's first moment.
        await cell.click()
        await page.keyboard.press("Shift+Enter")
        with contextlib.suppress(PlaywrightTimeout):
            await output.wait_for(timeout=6_000)
            break
    return (await output.inner_text()).strip()
