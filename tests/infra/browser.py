"""A real Chromium, on this machine's network or at the hub's side of a fabric."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import AsyncIterator
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from tests.infra.nodes import Fabric
from tests.infra.run import short_folder

CHROMIUM = "/usr/bin/chromium"
_FLAGS = [
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]


@contextlib.asynccontextmanager
async def chromium(fabric: Fabric | None = None) -> AsyncIterator[Browser]:
    """A headless browser; it and all its files are gone at the end."""
    with short_folder("browser") as folder:
        program = folder / "chromium"
        words = shlex.join([*(fabric.prefix if fabric else ()), CHROMIUM])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)
        own = {"HOME": str(folder), "TMPDIR": str(folder), "XDG_CONFIG_HOME": str(folder)}
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=program, headless=True, args=_FLAGS, env={**os.environ, **own}
            )
            try:
                yield browser
            finally:
                await browser.close()


@contextlib.asynccontextmanager
async def new_page(browser: Browser, width: int = 1280, height: int = 800) -> AsyncIterator[Page]:
    """A page without cookies; an error in its scripts fails the test at the end."""
    context = await browser.new_context(viewport={"width": width, "height": height})
    errors: list[str] = []
    page = await context.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    try:
        yield page
    finally:
        await context.close()
    assert not errors, f"scripts of the page failed: {errors}"


async def screenshot(page: Page, folder: Path, name: str) -> Path:
    """Keep a picture of the whole page in ``folder`` (a test's tmp_path)."""
    path = folder / f"{name}.png"
    await page.screenshot(path=path, full_page=True)
    return path
