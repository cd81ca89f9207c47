"""The server of the gate API: offers one gate to the cores that hold a certificate.

======  ==========================================  ===============================================
GET     /gate/v1                                    what is offered (GateInfo)
PUT     /gate/v1/cores/{core}                       a core makes itself known; all else is below it
GET     …/flavors, …/images, …/quotas, …/nodes      what there is, as in :mod:`..values`
GET     …/partitions                                all of this core
PUT     …/partitions/{name}                         create (a PartitionRequest): 202
GET     …/partitions/{name}                         how it stands
DELETE  …/partitions/{name}                         delete: 202
POST    …/partitions/{name}/suspend, …/resume       202
GET     …/partitions/{name}/console                 what its nodes printed at boot, as text
GET     …/changes                                   names of partitions that changed, a line each
======  ==========================================  ===============================================

Errors are those of the contract, with their words and a status (:mod:`.errors`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import ssl
from collections.abc import Awaitable, Callable
from importlib.metadata import PackageNotFoundError, version

from aiohttp import web
from pydantic import TypeAdapter, ValidationError

from ..gate import (
    Gate,
    GateError,
    GateUnavailable,
    InvalidRequest,
    Node,
    Partition,
    PartitionNotFound,
    Quota,
    Spot,
    SSHEndpoint,
    StaticGate,
    Suspend,
)
from ..timing import in_time
from . import wire
from .errors import CallerRefused, ErrorAnswer, NothingThere, body_of, status_of
from .holder import Holders
from .tenants import NEWS, Tenant, Tenants

LOOK = 0.5
"""Seconds between two looks at whether a listener's certificate still lets it in."""

HEARTBEAT = 15.0
"""Seconds between two signs of life on a stream of changes."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class GateServer:
    """One gate, offered to several cores.

    Parameters
    ----------
    make_gate : callable
        Makes the gate as configured, not started; one for each core.
    tenants : Tenants
        The cores.
    holders : Holders
        Who may come in.
    """

    def __init__(
        self,
        make_gate: Callable[[], Gate],
        tenants: Tenants,
        holders: Holders,
        log: logging.Logger,
    ) -> None:
        self._example = make_gate()
        self._tenants = tenants
        self._holders = holders
        self._log = log
        self._runner: web.AppRunner | None = None

    async def open(self, host: str, port: int, context: ssl.SSLContext) -> int:
        """Serve at an address; the port, which the system chose if 0 was asked for."""
        await self._tenants.open()
        runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=5)
        await runner.setup()
        self._runner = runner
        site = web.TCPSite(runner, host, port, ssl_context=context)
        await site.start()
        server = site._server
        assert isinstance(server, asyncio.Server)  # noqa: S101 (typing)
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop serving; what was made stays. Idempotent."""
        runner, self._runner = self._runner, None
        self._tenants.hang_up()
        if runner is not None:
            await runner.cleanup()
        await self._tenants.close()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._answer], client_max_size=2**20)
        core = f"{wire.PREFIX}/cores/{{core}}"
        partition = f"{core}/partitions/{{name}}"
        application.add_routes(
            [
                web.get(wire.PREFIX, self._info),
                web.put(core, self._introduce),
                web.get(f"{core}/flavors", self._flavors),
                web.get(f"{core}/images", self._images),
                web.get(f"{core}/quotas", self._quotas),
                web.get(f"{core}/nodes", self._nodes),
                web.get(f"{core}/changes", self._changes),
                web.get(f"{core}/partitions", self._list),
                web.put(partition, self._create),
                web.get(partition, self._get),
                web.delete(partition, self._delete),
                web.post(f"{partition}/suspend", self._suspend),
                web.post(f"{partition}/resume", self._resume),
                web.get(f"{partition}/console", self._console),
            ]
        )
        return application

    @web.middleware
    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in whom we know, and tell errors as the contract does."""
        try:
            self._holders.of(request)
            return await handler(request)
        except GateError as error:
            if error.__cause__ is not None:
                self._log.warning("%s: %s", request.path, error, exc_info=error.__cause__)
            return _refused(error)
        except web.HTTPException as error:
            return _refused(NothingThere(f"{request.path}: {error.reason}"), error.status)
        except Exception:
            self._log.exception("%s %s failed", request.method, request.path)
            return _refused(GateUnavailable("The gate has a fault; its log has the details"), 500)

    async def _info(self, request: web.Request) -> web.Response:
        example = self._example
        powers = [each.__name__ for each in (Suspend, Spot, Quota) if isinstance(example, each)]
        return _json(
            wire.GateInfo(
                name=example.name,
                static=isinstance(example, StaticGate),
                powers=powers,
                call_timeout=example.call_timeout,
                spot_notice=example.spot_notice if isinstance(example, Spot) else None,
                version=_version(),
            )
        )

    async def _introduce(self, request: web.Request) -> web.Response:
        body = await _body(request, wire.CORE)
        holder = self._holders.of(request)
        await self._tenants.introduce(request.match_info["core"], body.user_ca, holder)
        return web.json_response({}, status=200)

    async def _flavors(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return _json(await self._call(gate.flavors()))

    async def _images(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return _json(await self._call(gate.images()))

    async def _quotas(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return _json(await self._call(gate.quotas()) if isinstance(gate, Quota) else [])

    async def _nodes(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        nodes = await self._call(gate.nodes()) if isinstance(gate, StaticGate) else []
        return _json([self._abroad(node) for node in nodes])

    async def _list(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return _json([self._shown(each) for each in await self._call(gate.list())])

    async def _create(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        body = await _body(request, wire.REQUEST)
        if body.name != request.match_info["name"]:
            raise InvalidRequest("name: must be the one in the path")
        await self._call(gate.create(body))
        return web.json_response({}, status=202)

    async def _get(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return _json(self._shown(await self._call(gate.get(request.match_info["name"]))))

    async def _delete(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        await self._call(gate.delete(request.match_info["name"]))
        return web.json_response({}, status=202)

    async def _suspend(self, request: web.Request) -> web.Response:
        gate = self._sleeper(request)
        await self._call(gate.suspend(request.match_info["name"]))
        return web.json_response({}, status=202)

    async def _resume(self, request: web.Request) -> web.Response:
        gate = self._sleeper(request)
        await self._call(gate.resume(request.match_info["name"]))
        return web.json_response({}, status=202)

    async def _console(self, request: web.Request) -> web.Response:
        gate = self._gate(request)
        return web.Response(text=await self._call(gate.diagnose(request.match_info["name"])))

    async def _changes(self, request: web.Request) -> web.StreamResponse:
        """A line for each partition that changed; an empty one says that the stream lives."""
        news: asyncio.Queue[str] = asyncio.Queue(NEWS)
        tenant = self._tenant(request)
        tenant.listeners.add(news)
        response = web.StreamResponse(headers={"Content-Type": "text/plain; charset=utf-8"})
        try:
            await response.prepare(request)
            silent = 0.0
            while self._runner is not None:
                try:
                    name = await in_time(news.get(), LOOK)
                except asyncio.TimeoutError:
                    name, silent = "", silent + LOOK
                self._holders.of(request)
                if name or silent >= HEARTBEAT:
                    await response.write(f"{name}\n".encode())
                    silent = 0.0
            return response
        except (ConnectionResetError, CallerRefused):
            if request.transport is not None:
                request.transport.abort()
            return response
        finally:
            tenant.listeners.discard(news)

    def _tenant(self, request: web.Request) -> Tenant:
        return self._tenants.of(request.match_info["core"], self._holders.of(request))

    def _gate(self, request: web.Request) -> Gate:
        return self._tenant(request).gate

    def _sleeper(self, request: web.Request) -> Suspend:
        gate = self._gate(request)
        if not isinstance(gate, Suspend):
            name = request.match_info["name"]
            raise PartitionNotFound(f"There is no partition {name!r} that could sleep")
        return gate

    async def _call(self, call: Awaitable[wire.T]) -> wire.T:
        """A gate's answer within its own time."""
        try:
            return await in_time(call, self._example.call_timeout)
        except asyncio.TimeoutError as error:
            raise GateUnavailable("The site did not answer in time") from error

    def _shown(self, partition: Partition) -> Partition:
        nodes = tuple(self._abroad(node) for node in partition.nodes)
        return dataclasses.replace(partition, nodes=nodes)

    def _abroad(self, node: Node) -> Node:
        """A node as another machine can use it: a key file of this one means nothing there."""
        return dataclasses.replace(node, endpoint=_without_files(node.endpoint))


def _without_files(endpoint: SSHEndpoint) -> SSHEndpoint:
    jump = None if endpoint.jump is None else _without_files(endpoint.jump)
    return dataclasses.replace(endpoint, identity_file=None, jump=jump)


def _json(value: object) -> web.Response:
    return web.Response(text=wire.to_json(value), content_type="application/json")


def _refused(error: GateError, status: int | None = None) -> web.Response:
    body = ErrorAnswer(error=body_of(error))
    headers = {}
    if body.error.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(body.error.retry_after)))
    return web.Response(
        text=body.model_dump_json(),
        status=status or status_of(error),
        content_type="application/json",
        headers=headers,
    )


async def _body(request: web.Request, adapter: TypeAdapter[wire.T]) -> wire.T:
    try:
        return adapter.validate_json(await request.read())
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "body"
        raise InvalidRequest(f"{place}: {first['msg']}") from None


def _version() -> str:
    try:
        return version("skyport")
    except PackageNotFoundError:
        return "unknown"
