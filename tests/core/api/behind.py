"""The API behind the real door for a hub, with a hub that only knows tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from skyport_core.api import Services, make_application
from skyport_core.api.doors import HubOptions, hub_door, hub_sockets
from tests.infra.ports import free_ports

from .served import memory_services

ACCESS = "access:services!service=skyport"


@dataclass
class Behind:
    """A door with the hub that it asks.

    ``models`` are the hub's descriptions of tokens; it answers logins when ``go`` is set, and
    ``asked`` says by what addresses it was called.
    """

    port: int
    services: Services
    models: dict[str, dict[str, Any]] = field(default_factory=dict)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/skyport"

    def knows(self, token: str, *scopes: str, name: str = "alice") -> None:
        self.models[token] = {"kind": "user", "name": name, "scopes": [ACCESS, *scopes]}

    async def _user(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        token = request.headers.get("Authorization", "").removeprefix("token ")
        model = self.models.get(token)
        return web.json_response(model or {"message": "no"}, status=200 if model else 403)

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        await self.go.wait()
        return web.json_response({"message": "no"}, status=400)

    @asynccontextmanager
    async def hub(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_get("/hub/api/user", self._user)
        app.router.add_post("/hub/api/oauth2/token", self._token)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/hub/api"
        finally:
            self.go.set()
            await runner.cleanup()


@asynccontextmanager
async def behind_hub(folder: Path) -> AsyncIterator[Behind]:
    (port,) = free_ports(1)
    async with memory_services(folder) as services:
        behind = Behind(port, services)
        async with behind.hub() as api:
            options = HubOptions(
                f"http://127.0.0.1:{port}", "/services/skyport/", api, "token-of-service"
            )
            application = make_application(services, prefix=options.root)
            door = hub_door(application, options, hub_sockets(options))
            try:
                yield behind
            finally:
                await door.close()
