"""A real JupyterHub with its proxy as child processes, and a client of its REST API."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import psutil

from tests.infra.kernel import Kernel
from tests.infra.nodes import Fabric
from tests.infra.ports import free_ports
from tests.infra.process import ServerProcess
from tests.infra.run import kill, short_folder
from tests.infra.wait import eventually

PASSWORD = "let me in"  # the dummy authenticator's, for every user

_CONFIG = """\
import sys
c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.db_url = "sqlite:///{home}/hub.sqlite"
c.JupyterHub.cookie_secret_file = "{home}/cookie_secret"
c.JupyterHub.data_files_path = sys.prefix + "/share/jupyterhub"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}  # answer a POST at once
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "{password}"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.JupyterHub.services = [{{"name": "tests", "api_token": "{token}", "admin": True}}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.command = [sys.executable, "-m", "skyport_spawner.proxy"]
c.ConfigurableHTTPProxy.pid_file = "{home}/proxy.pid"
"""


class SpawnFailedError(AssertionError):
    """A server did not start; ``event`` is the hub's last progress event."""

    def __init__(self, event: Mapping[str, Any]) -> None:
        super().__init__(event.get("message", str(event)))
        self.event = event


class Hub:
    """JupyterHub in a folder of its own; use as an async context manager.

    Parameters
    ----------
    config
        Text added to the hub's configuration file (the spawner, the core as a service …).
    fabric
        Run at the hub's side of this network; None: on this machine's.
    env
        Variables added to the environment.
    venv
        The virtual environment with the hub; None: this one.
    """

    def __init__(
        self,
        config: str = "",
        *,
        fabric: Fabric | None = None,
        env: Mapping[str, str] | None = None,
        venv: Path | None = None,
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._fabric = fabric
        self._session: aiohttp.ClientSession | None = None
        self.home = self._stack.enter_context(short_folder("hub"))
        self.token = secrets.token_hex(16)
        port, hub_port, proxy_port = free_ports(3, fabric)
        self.hub_port = hub_port
        self.url = f"http://127.0.0.1:{port}"
        self._api = f"http://127.0.0.1:{hub_port}/hub/api"
        text = _CONFIG.format(
            port=port,
            hub_port=hub_port,
            proxy_port=proxy_port,
            home=self.home,
            token=self.token,
            password=PASSWORD,
        )
        (self.home / "jupyterhub_config.py").write_text(text + config)
        path = f"{venv or sys.prefix}/bin"
        self.process = ServerProcess(
            "hub",
            [f"{path}/jupyterhub", "-f", str(self.home / "jupyterhub_config.py")],
            self.home,
            prefix=fabric.prefix if fabric else (),
            env={"PATH": f"{path}:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"}
            | dict(env or {}),
        )

    async def __aenter__(self) -> Hub:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    # -- the processes -------------------------------------------------------------------------

    async def start(self, timeout: float = 60.0) -> None:
        """Start it and wait until its API answers through the proxy."""
        self.process.spawn()
        await self.process.wait_ready(self.healthy, timeout)

    async def stop(self) -> None:
        """End hub and proxy as an admin does; the servers stay."""
        await self.process.end(signal.SIGTERM, timeout=30)

    async def kill9(self) -> None:
        """End the hub without any chance to clean up; its proxy lives on."""
        await self.process.end(signal.SIGKILL)

    async def restart(self) -> None:
        """Stop and start again."""
        await self.stop()
        await self.start()

    def kill_proxy(self) -> None:
        """End the proxy, also one that outlived its hub."""
        pid_file = self.home / "proxy.pid"
        if pid_file.exists():
            pid = int(pid_file.read_text())
            kill(pid)
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(pid).wait(10)

    async def healthy(self) -> bool:
        """Whether the API answers through the proxy now."""
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with self.session.get(f"{self.url}/hub/api/") as answer:
                return answer.status == 200
        return False

    async def close(self) -> None:
        """Stop everything and remove the folder."""
        try:
            await self.stop()
        finally:
            self.kill_proxy()
            if self._session:
                await self._session.close()
            self.process.detach()
            self._stack.close()

    # -- its REST API --------------------------------------------------------------------------

    @property
    def session(self) -> aiohttp.ClientSession:
        """An HTTP session with the rights of an admin, at the hub's side of the network."""
        if self._session is None or self._session.closed:
            self._session = self.new_session(headers={"Authorization": f"token {self.token}"})
        return self._session

    def new_session(self, **options: Any) -> aiohttp.ClientSession:
        """A session without rights; the caller closes it."""
        connector = self._fabric.connector() if self._fabric else aiohttp.TCPConnector()
        jar = aiohttp.CookieJar(unsafe=True)  # the hub has an IP address for a name
        return aiohttp.ClientSession(connector=connector, cookie_jar=jar, **options)

    async def api(self, method: str, path: str, body: object = None) -> Any:
        """Call ``/hub/api`` + path; the parsed answer, or ClientResponseError with its text."""
        async with self.session.request(method, f"{self._api}{path}", json=body) as answer:
            text = await answer.text()
            if answer.status >= 400:
                raise aiohttp.ClientResponseError(
                    answer.request_info, answer.history, status=answer.status, message=text
                )
            return json.loads(text) if text else None

    async def login(self, user: str) -> aiohttp.ClientSession:
        """Log in by the form; the session holds the cookies. The caller closes it."""
        session = self.new_session()
        async with session.get(f"{self.url}/hub/login") as page:
            page.raise_for_status()
        cookies = session.cookie_jar.filter_cookies(aiohttp.client.URL(f"{self.url}/hub/login"))
        form = {"username": user, "password": PASSWORD, "_xsrf": cookies["_xsrf"].value}
        # Without following the redirect: it would start the user's server.
        async with session.post(
            f"{self.url}/hub/login?next=/hub/home", data=form, allow_redirects=False
        ) as answer:
            assert answer.status == 302, f"login of {user}: {answer.status}"
        return session

    async def add_user(self, user: str) -> None:
        """Make a user unless it exists."""
        with contextlib.suppress(aiohttp.ClientResponseError):
            await self.api("POST", f"/users/{user}")

    async def start_server(
        self, user: str, name: str = "", options: Mapping[str, object] | None = None
    ) -> None:
        """Ask for a server and return at once; ``options`` are the user options."""
        await self.add_user(user)
        body = {"user_options": dict(options)} if options is not None else None
        await self.api("POST", self._server(user, name), body)

    async def stop_server(self, user: str, name: str = "", timeout: float = 30.0) -> None:
        """Stop a server and wait until the hub says that it is gone."""
        await self.api("DELETE", self._server(user, name))

        async def gone() -> bool:
            return await self.server(user, name) is None

        await eventually(gone, f"end of {user}'s server {name!r}", timeout)

    async def server(self, user: str, name: str = "") -> dict[str, Any] | None:
        """What the hub says of a server; None when it has none."""
        model = await self.api("GET", f"/users/{user}")
        found = model["servers"].get(name)
        return dict(found) if found else None

    async def progress(self, user: str, name: str = "") -> AsyncIterator[dict[str, Any]]:
        """The progress events of a pending server, until it is ready or failed."""
        url = f"{self.url}/hub/api{self._server(user, name)}/progress"
        async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=None)) as answer:
            answer.raise_for_status()
            async for line in answer.content:
                if line.startswith(b"data:"):
                    event = json.loads(line[5:])
                    yield event
                    if event.get("ready") or event.get("failed"):
                        return

    async def wait_ready(self, user: str, name: str = "", timeout: float = 60.0) -> dict[str, Any]:
        """Wait for the end of a start; the last event, or SpawnFailedError with it."""

        async def last() -> dict[str, Any]:
            events = [event async for event in self.progress(user, name)]
            return events[-1] if events else {}

        event = await asyncio.wait_for(last(), timeout)
        if not event.get("ready"):
            raise SpawnFailedError(event)
        return event

    async def address(self, user: str, name: str = "") -> str:
        """Where the proxy sends a server's requests: "http://host:port"."""
        routes = await self.api("GET", "/proxy")
        path = f"/user/{user}/{name}/" if name else f"/user/{user}/"
        return str(routes[path]["target"])

    async def kernel(self, user: str, name: str = "") -> Kernel:
        """A new kernel on the user's server."""
        base = f"{self.url}/user/{user}/{name}".rstrip("/")
        return await Kernel.start(self.session, base)

    @staticmethod
    def _server(user: str, name: str) -> str:
        return f"/users/{user}/servers/{name}" if name else f"/users/{user}/server"
