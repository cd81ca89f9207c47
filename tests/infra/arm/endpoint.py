"""The endpoint as tests start it: in their own event loop, or in a thread with its own."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import trustme
from aiohttp import web

from tests.infra.arm.app import HOST_MODULES, MODULES, App, router_of
from tests.infra.arm.authority import Authority
from tests.infra.arm.backends import Backend
from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.catalog import Catalog
from tests.infra.arm.clock import Clock
from tests.infra.arm.fixtures import furnish
from tests.infra.arm.images import Images
from tests.infra.arm.operations import Durations
from tests.infra.arm.power import GuestListener
from tests.infra.arm.prices import Prices
from tests.infra.arm.rights import OWNER, Rights
from tests.infra.arm.state import REGIONS, Arm
from tests.infra.nodes import Fabric

T = TypeVar("T")


class ArmEndpoint:
    """Azure on loopback; an async context manager that runs in the current event loop.

    Parameters
    ----------
    backend
        Runs the machines; by default nobody does.
    fabric
        Listen inside this fabric's hub namespace instead of on this machine's loopback.
    durations
        How long operations take at least; by default no time.
    throttle
        Enforce Azure's request limits.
    clock
        Time; by default the real one.
    regions
        Regions that the subscription has.
    sizes
        Which sizes exist; by default those of ``data`` or else a few built-in ones.
    empty
        Begin without resource group and network, as before ``skyport azure setup``.
    data
        Folder of recorded data for sizes and prices; None takes a small built-in set.

    Attributes
    ----------
    url
        Of ARM, Entra and retail prices, "https://localhost:PORT".
    node_url
        Of ARM, as the machines of a fabric reach it.
    imds_url
        Of the metadata service of the core's machine, "http://127.0.0.1:PORT".
    ca_file
        Certificate of the authority that clients must trust.
    arm
        The state; touch it from the endpoint's loop only.
    """

    def __init__(
        self,
        *,
        backend: Backend | None = None,
        fabric: Fabric | None = None,
        durations: Durations | None = None,
        throttle: bool = False,
        clock: Clock | None = None,
        regions: tuple[str, ...] = REGIONS,
        sizes: Catalog | None = None,
        empty: bool = False,
        data: Path | None = None,
    ) -> None:
        self._fabric = fabric
        self._folder = tempfile.TemporaryDirectory(prefix="skyport-arm-")
        self._runners: list[web.AppRunner] = []
        self._sites: list[web.BaseSite] = []
        self._listeners: list[tuple[web.AppRunner, tuple[str, int], ssl.SSLContext | None]] = []
        self.arm = Arm(
            backend or NullBackend(),
            clock=clock,
            durations=durations,
            throttle=throttle,
            regions=regions,
            data=data,
        )
        if sizes is None:
            sizes = Catalog.built_in(regions) if data is None else Catalog.recorded(data)
        self.arm.sizes = sizes
        self.arm.prices = Prices(sizes)
        self.arm.images = Images()
        self.arm.authority = Authority(self.arm.tenant_id, self.arm.clock)
        client = self.arm.authority.add_client(self.arm.client_id, self.arm.client_secret)
        self.arm.rights = Rights(self.arm.subscription, client.object_id)
        self.arm.rights.assign(self.arm.authority.add_identity().object_id, OWNER)
        self.arm.backend.listener = GuestListener(self.arm)
        if not empty:
            furnish(self.arm)
        self.url = ""
        self.node_url = ""
        self.imds_url = ""
        self.ca_file = Path(self._folder.name) / "ca.pem"

    subscription = property(lambda self: self.arm.subscription)
    tenant_id = property(lambda self: self.arm.tenant_id)
    client_id = property(lambda self: self.arm.client_id)
    client_secret = property(lambda self: self.arm.client_secret)

    async def __aenter__(self) -> ArmEndpoint:
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(self.ca_file))
        names = ["localhost", "127.0.0.1"]
        if self._fabric is not None:
            names.append(self._fabric.hub_address)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert(*names).configure_cert(context)
        port = await self._listen(App(self.arm, router_of(MODULES)), context)
        self.url = self.arm.url = f"https://localhost:{port}"
        self.node_url = self.url
        if self._fabric is not None:
            self.node_url = f"https://{self._fabric.hub_address}:{port}"
        self.arm.authority.audiences |= {self.url, self.node_url}
        host = App(self.arm, router_of(HOST_MODULES), host=True)
        self.imds_url = f"http://127.0.0.1:{await self._listen(host, None)}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.arm.close()
        for runner in self._runners:
            await runner.cleanup()
        self._folder.cleanup()

    @property
    def listening(self) -> bool:
        """Whether it can be reached: not in an outage."""
        return bool(self._sites)

    async def down(self) -> None:
        """Stop listening and drop every connection, as in an outage; see :meth:`up`."""
        for site in self._sites:
            await site.stop()
        self._sites.clear()
        for runner in self._runners:
            server = runner.server
            if server is not None:
                for connection in server.connections:
                    if connection.transport is not None:
                        connection.transport.abort()

    async def up(self) -> None:
        """Listen again at the same ports."""
        for runner, address, context in self._listeners:
            await self._open(runner, self._socket(*address), context)

    def gate_options(self, **more: object) -> dict[str, object]:
        """Options of ``AzureGate`` for this endpoint, in a hurry; ``more`` wins."""
        secret = Path(self._folder.name) / "client-secret"
        secret.touch(mode=0o600)
        secret.write_text(self.arm.client_secret)
        options: dict[str, object] = {
            "subscription": self.arm.subscription,
            "resource_group": "skyport",
            "regions": list(self.arm.regions),
            "credential": "client_secret",
            "tenant_id": self.arm.tenant_id,
            "client_id": self.arm.client_id,
            "client_secret_file": str(secret),
            "authority": self.url,
            "base_url": self.url,
            "ca_file": str(self.ca_file),
            "prices_url": f"{self.url}/api/retail/prices",
            "operation_interval": 0.05,
            "fleet_interval": 0.5,
        }
        return {**options, **more}

    async def _listen(self, app: App, context: ssl.SSLContext | None) -> int:
        runner = web.AppRunner(_application(app), access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        host = "127.0.0.1" if self._fabric is None else "0.0.0.0"
        listener = self._socket(host, 0)
        port = int(listener.getsockname()[1])
        self._listeners.append((runner, (host, port), context))
        await self._open(runner, listener, context)
        return port

    async def _open(
        self, runner: web.AppRunner, listener: socket.socket, context: ssl.SSLContext | None
    ) -> None:
        site = web.SockSite(runner, listener, ssl_context=context)
        await site.start()
        self._sites.append(site)

    def _socket(self, host: str, port: int) -> socket.socket:
        made = socket.socket() if self._fabric is None else self._fabric.hub.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        return made


def _application(app: App) -> web.Application:
    application = web.Application(client_max_size=16 * 1024**2)
    application.router.add_route("*", "/{path:.*}", app.handle)
    return application


class ArmThread:
    """An :class:`ArmEndpoint` in a thread with its own event loop; a context manager.

    Parameters
    ----------
    options
        As :class:`ArmEndpoint` takes them.

    Attributes
    ----------
    endpoint
        The endpoint; call its state through :meth:`run` or :meth:`call`.
    """

    def __init__(self, **options: Any) -> None:
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="arm", daemon=True)
        self.endpoint: ArmEndpoint

    def __enter__(self) -> ArmThread:
        self._thread.start()
        try:
            self.endpoint = self.run(self._start())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self._stop)
            self.run(self.endpoint.__aexit__(None, None, None))

    @property
    def arm(self) -> Arm:
        """The state; read single values only, change it through :meth:`call`."""
        return self.endpoint.arm

    @property
    def url(self) -> str:
        """Where ARM answers."""
        return self.endpoint.url

    def gate_options(self, **more: object) -> dict[str, object]:
        """As :meth:`ArmEndpoint.gate_options`."""
        return self.endpoint.gate_options(**more)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = 60.0) -> T:
        """Run a coroutine in the endpoint's loop; its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    def call(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call a plain function in the endpoint's loop; its result."""

        async def inside() -> Any:
            return function(*args, **options)

        return self.run(inside())

    async def _start(self) -> ArmEndpoint:
        return await ArmEndpoint(**self._options).__aenter__()

    def _stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
