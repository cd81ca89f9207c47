"""The cloud side of the original's gate, on loopback: its protocol over machines that come to life.

The published gate can only pretend to make machines. This one speaks as that does, errors with
status 200 included, and each of its machines is the same real SSH server.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

from aiohttp import web

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
SUFFIX = "-resource-group"


@dataclass
class Machine:
    """One partition; times are those of the event loop."""

    name: str
    ready_at: float
    gone_at: float | None = None

    @property
    def identity(self) -> str:
        return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{self.name}{SUFFIX}"


@dataclass
class SwmCloud:
    """The gate. ``refusals`` are the errors with which the next creations are answered.

    They come with the status ``refusal_status``, and where that is not 200 as FastAPI tells them.
    """

    address: str = "127.0.0.1"
    answer_delay: float = 0.02
    delay: float = 0.1
    refusal_status: int = 200
    refusals: list[str | list[str]] = field(default_factory=list)
    machines: dict[str, Machine] = field(default_factory=dict)
    bodies: list[dict[str, str]] = field(default_factory=list)
    creations: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    async def start(self) -> None:
        application = web.Application()
        application.add_routes(
            [
                web.get("/azure/flavors", self._flavors),
                web.get("/azure/images", self._images),
                web.get("/azure/partitions", self._list),
                web.get("/azure/partitions/{name}", self._get),
                web.post("/azure/partitions", self._create),
                web.delete(
                    f"/azure/partitions//subscriptions/{SUBSCRIPTION}/resourceGroups/{{group}}",
                    self._delete,
                ),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _ask(self, request: web.Request) -> None:
        self.bodies.append(json.loads(await request.text()))
        now = asyncio.get_running_loop().time()
        for machine in list(self.machines.values()):
            if machine.gone_at is not None and now > machine.gone_at:
                del self.machines[machine.name]

    async def _flavors(self, request: web.Request) -> web.Response:
        await self._ask(request)
        if not request.headers.get("extra", "").startswith("location="):
            return web.json_response({"error": "Extra parameter is not specified: location"})
        flavor = {
            "id": "00000000-0000-4000-8000-000000000001",
            "name": "Standard_B2s",
            "cpus": 2,
            "gpus": 0,
            "mem": 4096,
            "storage": 8192,
            "price": 0.05,
        }
        return web.json_response({"flavors": [flavor]})

    async def _images(self, request: web.Request) -> web.Response:
        await self._ask(request)
        return web.json_response({"images": [{"id": "i", "name": "debian/12", "extra": {}}]})

    def _shown(self, machine: Machine, name: str) -> dict[str, object]:
        ready = asyncio.get_running_loop().time() >= machine.ready_at
        status = "deleting" if machine.gone_at else "succeeded" if ready else "creating"
        return {
            "id": machine.identity,
            "name": name,
            "master_public_ip": self.address if ready else None,
            "master_private_ip": "",
            "compute_instances_ips": [],
            "status": status,
            "created": None,
            "updated": None,
            "description": None,
        }

    async def _list(self, request: web.Request) -> web.Response:
        await self._ask(request)
        machines = list(self.machines.values())
        shown = [self._shown(machine, machine.name + SUFFIX) for machine in machines]
        return web.json_response({"partitions": shown})

    async def _get(self, request: web.Request) -> web.Response:
        await self._ask(request)
        name = request.match_info["name"]
        if name not in self.machines:
            return web.json_response({"detail": "Partition not found"}, status=404)
        return web.json_response(self._shown(self.machines[name], name))

    async def _create(self, request: web.Request) -> web.Response:
        await self._ask(request)
        self.creations.append(dict(request.headers))
        await asyncio.sleep(self.answer_delay)
        if self.refusals and self.refusal_status != 200:
            detail = {"detail": self.refusals.pop(0)}
            return web.json_response(detail, status=self.refusal_status)
        if self.refusals:
            return web.json_response({"error": self.refusals.pop(0), "partition": None})
        name = request.headers["partname"]
        ready_at = asyncio.get_running_loop().time() + self.delay
        machine = self.machines.setdefault(name, Machine(name, ready_at))
        return web.json_response({"partition": self._shown(machine, name + SUFFIX)})

    async def _delete(self, request: web.Request) -> web.Response:
        await self._ask(request)
        machine = self.machines.get(request.match_info["group"].removesuffix(SUFFIX))
        if machine is None:
            return web.json_response({"detail": "Cannot delete partition"}, status=500)
        machine.gone_at = asyncio.get_running_loop().time() + 0.05
        return web.json_response({"result": "Deletion started"})
