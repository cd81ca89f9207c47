"""The embedded configuration runs as it is, keeps to its own folder, and ends with Ctrl-C."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import aiohttp
import psutil
from bs4 import BeautifulSoup

from tests.infra.nodes import CHECKOUT
from tests.infra.ports import free_ports
from tests.infra.process import ServerProcess
from tests.infra.run import short_folder
from tests.infra.wait import eventually


def of_home(home: Path) -> list[psutil.Process]:
    """Processes that work below a folder, by their arguments or environment."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words = [*process.cmdline(), process.environ().get("SKYPORT_HOME", "")]
            if process.pid != os.getpid() and any(str(home) in word for word in words):
                found.append(process)
    return found


async def test_it_starts_a_notebook_and_ctrl_c_leaves_nothing_behind():
    with short_folder("config") as folder:
        home, cwd = folder / "home", folder / "cwd"
        cwd.mkdir()
        (port,) = free_ports(1)
        base = f"http://127.0.0.1:{port}"
        hub = ServerProcess(
            "jupyterhub",
            [f"{sys.prefix}/bin/jupyterhub", "-f", str(CHECKOUT / "jupyterhub_config.py")],
            folder,
            env={"PORT": str(port), "SKYPORT_HOME": str(home)},
        )
        jar = aiohttp.CookieJar(unsafe=True)
        async with aiohttp.ClientSession(cookie_jar=jar) as session:

            async def page(path: str) -> str | None:
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(base + path) as answer:
                        return await answer.text() if answer.status == 200 else None
                return None

            hub.spawn()
            try:
                await eventually(lambda: page("/hub/login"), "the login page", 30)
                xsrf = {cookie.key: cookie.value for cookie in jar}["_xsrf"]
                form = {"username": "ann", "password": "", "_xsrf": xsrf}
                async with session.post(f"{base}/hub/login?next=/hub/spawn", data=form) as answer:
                    assert answer.status == 200

                async def offering() -> BeautifulSoup | None:
                    soup = BeautifulSoup(await page("/hub/spawn") or "", "html.parser")
                    return soup if soup.select_one("option[value='local/local']") else None

                soup = await eventually(offering, "the form with this machine", 15)
                action = soup.select_one("#spawn_form")["action"]
                choice = {"machine": "local/local", "cpus": "0.5", "memory": "", "memory_unit": "G"}
                async with session.post(base + action, data=choice) as answer:
                    assert answer.status == 200

                async def notebook() -> bool:
                    return "jupyter-config-data" in (await page("/user/ann/lab") or "")

                await eventually(notebook, "JupyterLab of ann", 40)
            finally:
                await hub.end(signal.SIGINT, 30)
                hub.detach()
        await eventually(lambda: not of_home(home), "the end of all processes", 15)
        assert not list(cwd.iterdir())
        assert sorted(entry.name for entry in folder.iterdir()) == ["cwd", "home", "jupyterhub.log"]
